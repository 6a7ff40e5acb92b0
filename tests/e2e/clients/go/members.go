package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Members of consumer groups, all of one library; ../python/members.py says what is asked and said.

const (
	sessionTimeout    = 3 * time.Second
	heartbeatInterval = 500 * time.Millisecond
	rebalanceTimeout  = 15 * time.Second
)

type member struct {
	name, bootstrap, topic, group, strategy string
	leave                                   context.CancelFunc
}

var output sync.Mutex

func (m *member) sayAt(at time.Time, words ...any) {
	output.Lock()
	defer output.Unlock()
	fmt.Print(m.name, " ", at.UnixMilli(), " ", fmt.Sprintln(words...))
}

func (m *member) say(words ...any) { m.sayAt(time.Now(), words...) }

func (m *member) assigned(generation int32, partitions []int32) {
	words := []any{"assigned", generation}
	for _, p := range partitions {
		words = append(words, p)
	}
	m.say(words...)
}

func (m *member) revoked(partitions []int32) {
	words := []any{"revoked"}
	for _, p := range partitions {
		words = append(words, p)
	}
	m.say(words...)
}

func (m *member) refused(err error) {
	m.say("refused", strings.ReplaceAll(err.Error(), "\n", " "))
}

func (m *member) run(ctx context.Context, consume func(context.Context, *member) error) {
	if err := consume(ctx, m); err != nil {
		m.say("failed", strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	m.say("left")
}

func hostMembers(lib library, bootstrap string) {
	members := map[string]*member{}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if words[0] == "leave" {
			members[words[1]].leave()
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		m := &member{words[1], bootstrap, words[2], words[3], words[4], cancel}
		members[m.name] = m
		go m.run(ctx, lib.member)
	}
}
