package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

type saramaLibrary struct{}

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func (saramaLibrary) codeOf(err error) (int, bool) {
	var several sarama.ProducerErrors
	if errors.As(err, &several) {
		err = several[0].Err
	}
	var known sarama.KError
	ok := errors.As(err, &known)
	return int(known), ok
}

// saramaConfig speaks the newest versions, or those that sarama speaks when it is told nothing.
func saramaConfig(newest bool) *sarama.Config {
	config := sarama.NewConfig()
	if newest {
		config.Version = sarama.MaxVersion
	}
	return config
}

func encoder(data []byte) sarama.Encoder {
	if data == nil {
		return nil
	}
	return sarama.ByteEncoder(data)
}

func (lib saramaLibrary) produce(bootstrap, topic, codec string, idempotent bool, plan []record) error {
	if idempotent {
		admin, err := lib.administer(bootstrap)
		if err != nil {
			return err
		}
		defer admin.close()
		if err := admin.createTopic(topic, map[string]string{"max.message.bytes": fmt.Sprint(maxMessageBytes)}); err != nil {
			return err
		}
	}
	config := saramaConfig(idempotent)
	config.Net.MaxOpenRequests = 1
	config.Producer.Idempotent = idempotent
	if idempotent {
		config.Producer.RequiredAcks = sarama.WaitForAll
	}
	config.Producer.Compression = saramaCodecs[codec]
	config.Producer.MaxMessageBytes = maxMessageBytes
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for _, r := range plan {
		m := &sarama.ProducerMessage{
			Topic: topic, Partition: r.partition, Timestamp: time.UnixMilli(r.timestamp),
			Key: encoder(r.key), Value: encoder(r.value),
		}
		for _, h := range r.headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.name), Value: h.value})
		}
		messages = append(messages, m)
	}
	return producer.SendMessages(messages)
}

func (saramaLibrary) consume(bootstrap, topic string) ([]record, error) {
	config := saramaConfig(true)
	config.Consumer.MaxWaitTime = 50 * time.Millisecond
	config.Consumer.Return.Errors = true
	client, err := sarama.NewClient([]string{bootstrap}, config)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partitions, err := consumer.Partitions(topic)
	if err != nil {
		return nil, err
	}
	var records []record
	for _, p := range partitions {
		end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
		if err != nil {
			return nil, err
		}
		some, err := saramaRead(consumer, topic, p, end)
		if err != nil {
			return nil, err
		}
		records = append(records, some...)
	}
	return records, nil
}

func saramaRead(consumer sarama.Consumer, topic string, partition int32, end int64) ([]record, error) {
	reader, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	late := time.After(timeout)
	var records []record
	for next := int64(0); next < end; {
		select {
		case m := <-reader.Messages():
			records = append(records, fromSarama(m))
			next = m.Offset + 1
		case err := <-reader.Errors():
			return nil, err
		case <-late:
			return nil, fmt.Errorf("partition %d: read %d of %d records in time", partition, len(records), end)
		}
	}
	return records, nil
}

func fromSarama(m *sarama.ConsumerMessage) record {
	r := record{partition: m.Partition, offset: m.Offset, timestamp: m.Timestamp.UnixMilli(), key: m.Key, value: m.Value}
	for _, h := range m.Headers {
		r.headers = append(r.headers, header{string(h.Key), h.Value})
	}
	return r
}

// saramaMember reads every partition that it gets, each from a goroutine of the library's.
type saramaMember struct {
	records chan record
}

func (saramaMember) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup comes when the partitions are about to go: what was read is committed before.
func (saramaMember) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	return nil
}

func (member saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m := <-claim.Messages():
			if m == nil {
				return nil
			}
			member.records <- fromSarama(m)
			session.MarkMessage(m, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func (saramaLibrary) group(bootstrap, topic, group string, count int) ([]record, error) {
	config := saramaConfig(true)
	config.Consumer.MaxWaitTime = 50 * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	consumer, err := sarama.NewConsumerGroup([]string{bootstrap}, group, config)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	ctx, cancel := withTimeout()
	defer cancel()
	member, done := saramaMember{make(chan record)}, make(chan error, 1)
	go func() { done <- consumer.Consume(ctx, []string{topic}, member) }()
	var records []record
	for len(records) < count {
		select {
		case r := <-member.records:
			records = append(records, r)
		case err := <-done:
			return nil, fmt.Errorf("read %d of %d records: %w", len(records), count, errors.Join(err, ctx.Err()))
		}
	}
	cancel()
	return records, <-done
}

var saramaStrategies = map[string]func() sarama.BalanceStrategy{
	"range": sarama.NewBalanceStrategyRange, "roundrobin": sarama.NewBalanceStrategyRoundRobin,
	"sticky": sarama.NewBalanceStrategySticky, "cooperative-sticky": sarama.NewBalanceStrategyCooperativeSticky,
}

// saramaHandler says what a member is given. When a commit is acknowledged, the library does not tell.
type saramaHandler struct{ m *member }

func (h saramaHandler) Setup(session sarama.ConsumerGroupSession) error {
	h.m.assigned(session.GenerationID(), session.Claims()[h.m.topic])
	return nil
}

func (h saramaHandler) Cleanup(session sarama.ConsumerGroupSession) error {
	h.m.revoked(session.Claims()[h.m.topic])
	return nil
}

func (h saramaHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message := <-claim.Messages():
			if message == nil {
				return nil
			}
			h.m.say("processed", message.Partition, message.Offset, message.Offset)
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func (saramaLibrary) member(ctx context.Context, m *member) error {
	config := saramaConfig(true)
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
	config.Consumer.Group.Session.Timeout = sessionTimeout
	config.Consumer.Group.Heartbeat.Interval = heartbeatInterval
	config.Consumer.Group.Rebalance.Timeout = rebalanceTimeout
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{saramaStrategies[m.strategy]()}
	var consumer sarama.ConsumerGroup
	for consumer == nil {
		var err error
		if consumer, err = sarama.NewConsumerGroup([]string{m.bootstrap}, m.group, config); err != nil {
			time.Sleep(200 * time.Millisecond) // the broker may be away
		}
	}
	for ctx.Err() == nil {
		if err := consumer.Consume(ctx, []string{m.topic}, saramaHandler{m}); err != nil {
			time.Sleep(200 * time.Millisecond)
		}
	}
	consumer.Close() // where the broker is away, the session ends by itself
	return nil
}

type saramaAdmin struct {
	client sarama.Client
	admin  sarama.ClusterAdmin
}

func (saramaLibrary) administer(bootstrap string) (administrator, error) {
	client, err := sarama.NewClient([]string{bootstrap}, saramaConfig(true))
	if err != nil {
		return nil, err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	return saramaAdmin{client, admin}, err
}

func (a saramaAdmin) close() { a.admin.Close() }

func (a saramaAdmin) createTopic(topic string, configs map[string]string) error {
	detail := &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1, ConfigEntries: map[string]*string{}}
	for name, value := range configs {
		detail.ConfigEntries[name] = &value
	}
	return a.admin.CreateTopic(topic, detail, false)
}

func (a saramaAdmin) topics() ([]string, error) {
	details, err := a.admin.ListTopics()
	var names []string
	for name := range details {
		names = append(names, name)
	}
	return names, err
}

func (a saramaAdmin) partitions(topic string) (int, error) {
	described, err := a.admin.DescribeTopics([]string{topic})
	if err != nil {
		return 0, err
	}
	return len(described[0].Partitions), nil
}

func (a saramaAdmin) configs(topic string) (map[string]string, error) {
	entries, err := a.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	configs := map[string]string{}
	for _, entry := range entries {
		configs[entry.Name] = entry.Value
	}
	return configs, err
}

func (a saramaAdmin) alter(topic, name, value string) error {
	set := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
	entries := map[string]sarama.IncrementalAlterConfigsEntry{name: set}
	return a.admin.IncrementalAlterConfig(sarama.TopicResource, topic, entries, false)
}

func (a saramaAdmin) offset(topic string, partition int32, at int64) (int64, error) {
	if at == maxTimestamp {
		return 0, errLacks
	}
	return a.client.GetOffset(topic, partition, at)
}

func (a saramaAdmin) deleteRecords(topic string, partition int32, before int64) error {
	return a.admin.DeleteRecords(topic, map[int32]int64{partition: before})
}

func (a saramaAdmin) grow(topic string, partitions int) error {
	return a.admin.CreatePartitions(topic, int32(partitions), nil, false)
}

func (a saramaAdmin) deleteTopics(topics ...string) error {
	for _, topic := range topics {
		if err := a.admin.DeleteTopic(topic); err != nil {
			return err
		}
	}
	return nil
}
