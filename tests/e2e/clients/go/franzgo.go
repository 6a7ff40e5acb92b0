package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

type franzGo struct{}

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func (franzGo) codeOf(err error) (int, bool) {
	var known *kerr.Error
	if !errors.As(err, &known) {
		return 0, false
	}
	return int(known.Code), true
}

func (lib franzGo) produce(bootstrap, topic, codec string, idempotent bool, plan []record) error {
	options := []kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.ProducerBatchCompression(franzCodecs[codec]),
		kgo.ProducerBatchMaxBytes(maxMessageBytes), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}
	if idempotent {
		admin, err := lib.administer(bootstrap)
		if err != nil {
			return err
		}
		defer admin.close()
		if err := admin.createTopic(topic, map[string]string{"max.message.bytes": fmt.Sprint(maxMessageBytes)}); err != nil {
			return err
		}
	} else {
		options = append(options, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for _, r := range plan {
		one := &kgo.Record{
			Topic: topic, Partition: r.partition, Timestamp: time.UnixMilli(r.timestamp), Key: r.key, Value: r.value,
		}
		for _, h := range r.headers {
			one.Headers = append(one.Headers, kgo.RecordHeader{Key: h.name, Value: h.value})
		}
		records = append(records, one)
	}
	ctx, cancel := withTimeout()
	defer cancel()
	return client.ProduceSync(ctx, records...).FirstErr()
}

func (lib franzGo) consume(bootstrap, topic string) ([]record, error) {
	admin, err := lib.administer(bootstrap)
	if err != nil {
		return nil, err
	}
	defer admin.close()
	partitions, err := admin.partitions(topic)
	if err != nil {
		return nil, err
	}
	starts, left := map[int32]kgo.Offset{}, int64(0)
	for p := range int32(partitions) {
		end, err := admin.offset(topic, p, latest)
		if err != nil {
			return nil, err
		}
		starts[p] = kgo.NewOffset().AtStart()
		left += end
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.FetchMaxWait(50*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := withTimeout()
	defer cancel()
	var records []record
	for int64(len(records)) < left {
		fetched := client.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return nil, err
		}
		fetched.EachRecord(func(r *kgo.Record) { records = append(records, fromFranz(r)) })
	}
	return records, nil
}

func fromFranz(r *kgo.Record) record {
	one := record{partition: r.Partition, offset: r.Offset, timestamp: r.Timestamp.UnixMilli(), key: r.Key, value: r.Value}
	for _, h := range r.Headers {
		one.headers = append(one.headers, header{h.Key, h.Value})
	}
	return one
}

func (franzGo) group(bootstrap, topic, group string, count int) ([]record, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.FetchMaxWait(50*time.Millisecond), kgo.ConsumeTopics(topic),
		kgo.ConsumerGroup(group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := withTimeout()
	defer cancel()
	var records []record
	for len(records) < count {
		fetched := client.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return nil, err
		}
		fetched.EachRecord(func(r *kgo.Record) { records = append(records, fromFranz(r)) })
	}
	return records, client.CommitUncommittedOffsets(ctx)
}

var franzBalancers = map[string]kgo.GroupBalancer{
	"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "sticky": kgo.StickyBalancer(),
	"cooperative-sticky": kgo.CooperativeStickyBalancer(), "consumer": kgo.StickyBalancer(),
}

func (franzGo) member(ctx context.Context, m *member) error {
	pending := map[int32]*kgo.Record{}
	revoked := func(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
		for _, partition := range revoked[m.topic] {
			delete(pending, partition)
		}
		m.revoked(revoked[m.topic])
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(m.bootstrap), kgo.FetchMaxWait(100 * time.Millisecond), kgo.ConsumeTopics(m.topic),
		kgo.ConsumerGroup(m.group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), kgo.Balancers(franzBalancers[m.strategy]), kgo.SessionTimeout(sessionTimeout),
		kgo.HeartbeatInterval(heartbeatInterval), kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.OnPartitionsAssigned(func(_ context.Context, client *kgo.Client, assigned map[string][]int32) {
			_, generation := client.GroupMetadata()
			m.assigned(generation, assigned[m.topic])
		}),
		kgo.OnPartitionsRevoked(revoked), kgo.OnPartitionsLost(revoked),
	}
	if m.strategy == "consumer" {
		options = append(options, kgo.ServerSideBalancer())
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	for {
		pollContext, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		fetched := client.PollRecords(pollContext, 100)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		fetched.EachPartition(func(some kgo.FetchTopicPartition) {
			if n := len(some.Records); n > 0 {
				m.say("processed", some.Partition, some.Records[0].Offset, some.Records[n-1].Offset)
				pending[some.Partition] = some.Records[n-1]
			}
		})
		franzCommit(client, m, pending)
		client.AllowRebalance()
	}
}

// What is refused, but still the member's, is tried again with what comes next.
func franzCommit(client *kgo.Client, m *member, pending map[int32]*kgo.Record) {
	if len(pending) == 0 {
		return
	}
	_, generation := client.GroupMetadata()
	began := time.Now()
	if err := client.CommitRecords(context.Background(), slices.Collect(maps.Values(pending))...); err != nil {
		m.refused(err)
		return
	}
	if _, after := client.GroupMetadata(); after == generation { // else nobody can tell which it was
		for partition, last := range pending {
			m.sayAt(began, "committed", generation, partition, last.Offset+1)
		}
	}
	clear(pending)
}

type franzAdmin struct{ admin *kadm.Client }

func (franzGo) administer(bootstrap string) (administrator, error) {
	admin, err := kadm.NewOptClient(kgo.SeedBrokers(bootstrap), kgo.MetadataMinAge(50*time.Millisecond))
	return franzAdmin{admin}, err
}

func (a franzAdmin) close() { a.admin.Close() }

func (a franzAdmin) createTopic(topic string, configs map[string]string) error {
	wanted := map[string]*string{}
	for name, value := range configs {
		wanted[name] = &value
	}
	answer, err := a.admin.CreateTopics(context.Background(), 3, 1, wanted, topic)
	if err != nil {
		return err
	}
	return answer.Error()
}

func (a franzAdmin) topics() ([]string, error) {
	details, err := a.admin.ListTopics(context.Background())
	return details.Names(), err
}

func (a franzAdmin) partitions(topic string) (int, error) {
	details, err := a.admin.ListTopics(context.Background(), topic)
	if err != nil {
		return 0, err
	}
	return len(details[topic].Partitions), details[topic].Err
}

func (a franzAdmin) configs(topic string) (map[string]string, error) {
	answer, err := a.admin.DescribeTopicConfigs(context.Background(), topic)
	if err != nil {
		return nil, err
	}
	configs := map[string]string{}
	for _, config := range answer[0].Configs {
		configs[config.Key] = config.MaybeValue()
	}
	return configs, answer[0].Err
}

func (a franzAdmin) alter(topic, name, value string) error {
	change := kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value}
	answer, err := a.admin.AlterTopicConfigs(context.Background(), []kadm.AlterConfig{change}, topic)
	if err != nil {
		return err
	}
	return answer[0].Err
}

func (a franzAdmin) offset(topic string, partition int32, at int64) (int64, error) {
	ctx := context.Background()
	var listed kadm.ListedOffsets
	var err error
	switch at {
	case earliest:
		listed, err = a.admin.ListStartOffsets(ctx, topic)
	case latest:
		listed, err = a.admin.ListEndOffsets(ctx, topic)
	case maxTimestamp:
		listed, err = a.admin.ListMaxTimestampOffsets(ctx, topic)
	default:
		listed, err = a.admin.ListOffsetsAfterMilli(ctx, at, topic)
	}
	if err != nil {
		return 0, err
	}
	seen, _ := listed.Lookup(topic, partition)
	return seen.Offset, seen.Err
}

func (a franzAdmin) deleteRecords(topic string, partition int32, before int64) error {
	var offsets kadm.Offsets
	offsets.AddOffset(topic, partition, before, -1)
	answer, err := a.admin.DeleteRecords(context.Background(), offsets)
	if err != nil {
		return err
	}
	seen := answer[topic][partition]
	if seen.Err == nil {
		show("records.deleted", seen.LowWatermark)
	}
	return seen.Err
}

func (a franzAdmin) grow(topic string, partitions int) error {
	answer, err := a.admin.UpdatePartitions(context.Background(), partitions, topic)
	if err != nil {
		return err
	}
	return answer.Error()
}

func (a franzAdmin) deleteTopics(topics ...string) error {
	answer, err := a.admin.DeleteTopics(context.Background(), topics...)
	if err != nil {
		return err
	}
	return answer.Error()
}
