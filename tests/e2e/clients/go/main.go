// Three Go clients as client programs; ../python/driver.py says what one does. The first
// argument names the library, the others are that file's.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxMessageBytes = 2097152

const timeout = 30 * time.Second

type header struct {
	name  string
	value []byte
}

type record struct {
	partition int32
	offset    int64
	timestamp int64
	key       []byte
	value     []byte
	headers   []header
}

// library is one of the clients under test.
type library interface {
	produce(bootstrap, topic, codec string, idempotent bool, plan []record) error
	consume(bootstrap, topic string) ([]record, error)
	group(bootstrap, topic, group string, count int) ([]record, error)
	member(ctx context.Context, m *member) error
	administer(bootstrap string) (administrator, error)
	codeOf(err error) (int, bool)
}

// errLacks is what an administrator answers when its library has no such call.
var errLacks = errors.New("the library has no such call")

const (
	latest       = -1
	earliest     = -2
	maxTimestamp = -3
)

type administrator interface {
	createTopic(topic string, configs map[string]string) error
	topics() ([]string, error)
	partitions(topic string) (int, error)
	configs(topic string) (map[string]string, error)
	alter(topic, name, value string) error
	offset(topic string, partition int32, at int64) (int64, error)
	deleteRecords(topic string, partition int32, before int64) error
	grow(topic string, partitions int) error
	deleteTopics(topics ...string) error
	close()
}

var libraries = map[string]library{
	"kafka-go": kafkaGo{},
	"sarama":   saramaLibrary{},
	"franz-go": franzGo{},
}

func main() {
	lib, action, bootstrap, rest := libraries[os.Args[1]], os.Args[2], os.Args[3], os.Args[4:]
	switch action {
	case "produce":
		plan, err := readPlan(rest[0])
		check(err)
		for _, word := range rest[1:] {
			parts := strings.Split(word, ":")
			attempt(parts[0], func() error {
				return lib.produce(bootstrap, parts[0], parts[1], len(parts) < 3, plan)
			})
		}
	case "consume":
		for _, topic := range rest[1:] {
			attempt(topic, func() error {
				records, err := lib.consume(bootstrap, topic)
				if err != nil {
					return err
				}
				return writeRecords(filepath.Join(rest[0], topic+".tsv"), records)
			})
		}
	case "group":
		for _, topic := range rest[3:] {
			attempt(topic, func() error {
				records, err := lib.group(bootstrap, topic, rest[1], int(number(rest[2])))
				if err != nil {
					return err
				}
				return writeRecords(filepath.Join(rest[0], topic+".tsv"), records)
			})
		}
	case "members":
		hostMembers(lib, bootstrap)
	case "admin":
		administer(lib, bootstrap, rest[0])
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func attempt(topic string, action func() error) {
	began := time.Now()
	if err := action(); err != nil {
		fmt.Printf("failed\t%s\t%s\n", topic, strings.ReplaceAll(err.Error(), "\n", " "))
	} else {
		fmt.Printf("ok\t%s\t%.2f\n", topic, time.Since(began).Seconds())
	}
}

func encode(data []byte) string {
	if data == nil {
		return "~"
	}
	return base64.StdEncoding.EncodeToString(data)
}

func decode(text string) []byte {
	if text == "~" {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	check(err)
	return data
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	check(err)
	return n
}

func readPlan(path string) ([]record, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var plan []record
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 2*maxMessageBytes)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		r := record{partition: int32(number(fields[0])), timestamp: number(fields[2])}
		r.key, r.value = decode(fields[3]), decode(fields[4])
		if fields[5] != "" {
			for _, pair := range strings.Split(fields[5], ",") {
				name, value, _ := strings.Cut(pair, ":")
				r.headers = append(r.headers, header{name, decode(value)})
			}
		}
		plan = append(plan, r)
	}
	return plan, lines.Err()
}

func writeRecords(path string, records []record) error {
	var out strings.Builder
	for _, r := range records {
		var headers []string
		for _, h := range r.headers {
			headers = append(headers, h.name+":"+encode(h.value))
		}
		fmt.Fprintf(&out, "%d\t%d\t%d\t%s\t%s\t%s\n",
			r.partition, r.offset, r.timestamp, encode(r.key), encode(r.value), strings.Join(headers, ","))
	}
	return os.WriteFile(path, []byte(out.String()), 0o644)
}

func show(name string, value any) {
	switch value {
	case true:
		value = "True"
	case false:
		value = "False"
	}
	fmt.Printf("%s=%v\n", name, value)
}

// code is the error code a call failed with; 0 when it did not fail.
func code(lib library, err error) int {
	if err == nil {
		return 0
	}
	code, known := lib.codeOf(err)
	if !known {
		panic(err)
	}
	return code
}

// until is what the call gives once it gives `wanted`, or at last: a broker learns of a change a moment later.
func until(wanted any, call func() (any, error)) any {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		seen, err := call()
		if err == nil && seen == wanted || time.Now().After(deadline) {
			check(err)
			return seen
		}
	}
}

func administer(lib library, bootstrap, topic string) {
	admin, err := lib.administer(bootstrap)
	check(err)
	defer admin.close()
	withDefaults := topic + "-default"
	sizes := map[string]string{"retention.ms": "7200000", "max.message.bytes": strconv.Itoa(maxMessageBytes)}
	check(admin.createTopic(topic, sizes))
	check(admin.createTopic(withDefaults, nil))
	show("created.again", code(lib, admin.createTopic(topic, nil)))
	show("created.badly", code(lib, admin.createTopic("a/b", nil)))
	topics, err := admin.topics()
	check(err)
	show("listed", slices.Contains(topics, topic))
	partitions := func() (any, error) { return admin.partitions(topic) }
	show("partitions", until(3, partitions))
	configs, err := admin.configs(topic)
	check(err)
	for _, name := range []string{"retention.ms", "max.message.bytes", "segment.bytes"} {
		show(name, configs[name])
	}
	check(admin.alter(topic, "retention.ms", "3600000"))
	configs, err = admin.configs(topic)
	check(err)
	show("retention.ms.altered", configs["retention.ms"])
	show("altered.badly", code(lib, admin.alter(topic, "retention.ms", "soon")))
	administerRecords(lib, admin, bootstrap, topic, withDefaults)
	check(admin.grow(topic, 5))
	show("partitions.grown", until(5, partitions))
	check(admin.deleteTopics(topic, withDefaults))
	show("deleted", until(true, func() (any, error) {
		topics, err := admin.topics()
		return !slices.Contains(topics, topic), err
	}))
}

func administerRecords(lib library, admin administrator, bootstrap, topic, withDefaults string) {
	began := time.Now().UnixMilli() - 60000
	var plan []record
	for i := range 5 {
		plan = append(plan, record{partition: 1, timestamp: began + int64(i)*1000, value: []byte("0123456789")})
	}
	check(lib.produce(bootstrap, topic, "none", false, plan))
	queries := []struct {
		name string
		at   int64
	}{{"earliest", earliest}, {"latest", latest}, {"max", maxTimestamp}, {"time", began + 1500}}
	for _, query := range queries {
		offset, err := admin.offset(topic, 1, query.at)
		if err == errLacks {
			continue
		}
		check(err)
		show("offset."+query.name, offset)
	}
	if err := admin.deleteRecords(topic, 1, 2); err != errLacks {
		check(err)
		offset, err := admin.offset(topic, 1, earliest)
		check(err)
		show("offset.earliest.deleted", offset)
	}
	tooLarge := []record{{timestamp: began, value: make([]byte, 1<<20)}}
	show("too.large", code(lib, lib.produce(bootstrap, withDefaults, "none", false, tooLarge)))
}
