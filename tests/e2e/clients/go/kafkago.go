package main

import (
	"context"
	"errors"
	"time"

	kafka "github.com/segmentio/kafka-go"
)

// kafkaGo is segmentio's client. It has no idempotent producer.
type kafkaGo struct{}

var kafkaGoCodecs = map[string]kafka.Compression{
	"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

func withTimeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), timeout)
}

func (kafkaGo) codeOf(err error) (int, bool) {
	var several kafka.WriteErrors
	if errors.As(err, &several) {
		err = several[0]
	}
	var known kafka.Error
	if !errors.As(err, &known) {
		var tooLarge kafka.MessageTooLargeError
		return int(kafka.MessageSizeTooLarge), errors.As(err, &tooLarge)
	}
	return int(known), true
}

// produce needs a topic that exists: no idempotence is no safe retry.
func (kafkaGo) produce(bootstrap, topic, codec string, idempotent bool, plan []record) error {
	acks := kafka.RequireOne
	if idempotent {
		acks = kafka.RequireAll
	}
	writer := kafka.Writer{
		Addr: kafka.TCP(bootstrap), Topic: topic, Compression: kafkaGoCodecs[codec], RequiredAcks: acks,
		BatchBytes: 2000000, BatchTimeout: 10 * time.Millisecond, MaxAttempts: 1,
		Balancer: kafka.BalancerFunc(func(m kafka.Message, _ ...int) int { return int(m.WriterData.(int32)) }),
	}
	defer writer.Close()
	var messages []kafka.Message
	for _, r := range plan {
		m := kafka.Message{Key: r.key, Value: r.value, Time: time.UnixMilli(r.timestamp), WriterData: r.partition}
		for _, h := range r.headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.name, Value: h.value})
		}
		messages = append(messages, m)
	}
	ctx, cancel := withTimeout()
	defer cancel()
	return writer.WriteMessages(ctx, messages...)
}

func (lib kafkaGo) consume(bootstrap, topic string) ([]record, error) {
	admin, _ := lib.administer(bootstrap)
	partitions, err := admin.partitions(topic)
	if err != nil {
		return nil, err
	}
	var records []record
	for p := range partitions {
		end, err := admin.offset(topic, int32(p), latest)
		if err != nil {
			return nil, err
		}
		some, err := kafkaGoRead(bootstrap, topic, p, end)
		if err != nil {
			return nil, err
		}
		records = append(records, some...)
	}
	return records, nil
}

func kafkaGoRead(bootstrap, topic string, partition int, end int64) ([]record, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{bootstrap}, Topic: topic, Partition: partition,
		MinBytes: 1, MaxBytes: 10 << 20, MaxWait: 50 * time.Millisecond,
	})
	defer reader.Close()
	if err := reader.SetOffset(kafka.FirstOffset); err != nil {
		return nil, err
	}
	ctx, cancel := withTimeout()
	defer cancel()
	var records []record
	for next := int64(0); next < end; {
		m, err := reader.ReadMessage(ctx)
		if err != nil {
			return nil, err
		}
		records = append(records, fromKafkaGo(m))
		next = m.Offset + 1
	}
	return records, nil
}

func fromKafkaGo(m kafka.Message) record {
	r := record{partition: int32(m.Partition), offset: m.Offset, timestamp: m.Time.UnixMilli(), key: m.Key, value: m.Value}
	for _, h := range m.Headers {
		r.headers = append(r.headers, header{h.Key, h.Value})
	}
	return r
}

func (kafkaGo) group(bootstrap, topic, group string, count int) ([]record, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{bootstrap}, Topic: topic, GroupID: group, StartOffset: kafka.FirstOffset,
		MinBytes: 1, MaxBytes: 10 << 20, MaxWait: 50 * time.Millisecond,
	})
	defer reader.Close()
	ctx, cancel := withTimeout()
	defer cancel()
	var records []record
	var last []kafka.Message
	for len(records) < count {
		m, err := reader.FetchMessage(ctx)
		if err != nil {
			return nil, err
		}
		records = append(records, fromKafkaGo(m))
		last = append(last, m)
	}
	return records, reader.CommitMessages(ctx, last...)
}

var kafkaGoBalancers = map[string]kafka.GroupBalancer{
	"range": kafka.RangeGroupBalancer{}, "roundrobin": kafka.RoundRobinGroupBalancer{},
}

func (kafkaGo) member(ctx context.Context, m *member) error {
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: m.group, Brokers: []string{m.bootstrap}, Topics: []string{m.topic}, StartOffset: kafka.FirstOffset,
		GroupBalancers:    []kafka.GroupBalancer{kafkaGoBalancers[m.strategy]},
		HeartbeatInterval: heartbeatInterval, SessionTimeout: sessionTimeout, RebalanceTimeout: rebalanceTimeout,
		JoinGroupBackoff: 200 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	for {
		generation, err := group.Next(ctx)
		if ctx.Err() != nil {
			return group.Close()
		}
		if err != nil {
			continue // the broker may be away
		}
		var partitions []int32
		for _, assigned := range generation.Assignments[m.topic] {
			partitions = append(partitions, int32(assigned.ID))
		}
		m.assigned(generation.ID, partitions)
		for _, assigned := range generation.Assignments[m.topic] {
			generation.Start(func(ctx context.Context) { kafkaGoConsume(ctx, m, generation, assigned) })
		}
	}
}

func kafkaGoConsume(ctx context.Context, m *member, generation *kafka.Generation, assigned kafka.PartitionAssignment) {
	defer m.revoked([]int32{int32(assigned.ID)})
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{m.bootstrap}, Topic: m.topic, Partition: assigned.ID,
		MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 100 * time.Millisecond,
	})
	defer reader.Close()
	if err := reader.SetOffset(assigned.Offset); err != nil {
		return
	}
	committed, next := assigned.Offset, assigned.Offset
	for ctx.Err() == nil {
		readContext, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		message, err := reader.ReadMessage(readContext)
		cancel()
		if err == nil {
			m.say("processed", assigned.ID, message.Offset, message.Offset)
			next = message.Offset + 1
		}
		if next == committed {
			continue
		}
		began := time.Now()
		if err := generation.CommitOffsets(map[string]map[int]int64{m.topic: {assigned.ID: next}}); err != nil {
			m.refused(err)
			continue
		}
		m.sayAt(began, "committed", generation.ID, assigned.ID, next)
		committed = next
	}
}

type kafkaGoAdmin struct{ client kafka.Client }

func (kafkaGo) administer(bootstrap string) (administrator, error) {
	transport := &kafka.Transport{MetadataTTL: 100 * time.Millisecond}
	return kafkaGoAdmin{kafka.Client{Addr: kafka.TCP(bootstrap), Timeout: timeout, Transport: transport}}, nil
}

func (a kafkaGoAdmin) close() {}

func (a kafkaGoAdmin) createTopic(topic string, configs map[string]string) error {
	wanted := kafka.TopicConfig{Topic: topic, NumPartitions: 3, ReplicationFactor: 1}
	for name, value := range configs {
		wanted.ConfigEntries = append(wanted.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	answer, err := a.client.CreateTopics(context.Background(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{wanted}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (a kafkaGoAdmin) metadata(topics ...string) ([]kafka.Topic, error) {
	answer, err := a.client.Metadata(context.Background(), &kafka.MetadataRequest{Topics: topics})
	if err != nil {
		return nil, err
	}
	return answer.Topics, nil
}

func (a kafkaGoAdmin) topics() ([]string, error) {
	topics, err := a.metadata()
	var names []string
	for _, topic := range topics {
		names = append(names, topic.Name)
	}
	return names, err
}

func (a kafkaGoAdmin) partitions(topic string) (int, error) {
	topics, err := a.metadata(topic)
	if err != nil {
		return 0, err
	}
	return len(topics[0].Partitions), topics[0].Error
}

func (a kafkaGoAdmin) configs(topic string) (map[string]string, error) {
	resource := kafka.DescribeConfigRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}
	answer, err := a.client.DescribeConfigs(context.Background(), &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{resource},
	})
	if err != nil {
		return nil, err
	}
	configs := map[string]string{}
	for _, entry := range answer.Resources[0].ConfigEntries {
		configs[entry.ConfigName] = entry.ConfigValue
	}
	return configs, answer.Resources[0].Error
}

func (a kafkaGoAdmin) alter(topic, name, value string) error {
	change := kafka.IncrementalAlterConfigsRequestConfig{Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet}
	answer, err := a.client.IncrementalAlterConfigs(context.Background(), &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{change},
		}},
	})
	if err != nil {
		return err
	}
	return answer.Resources[0].Error
}

func (a kafkaGoAdmin) offset(topic string, partition int32, at int64) (int64, error) {
	if at == maxTimestamp {
		return 0, errLacks
	}
	answer, err := a.client.ListOffsets(context.Background(), &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {{Partition: int(partition), Timestamp: at}}},
	})
	if err != nil {
		return 0, err
	}
	seen := answer.Topics[topic][0]
	switch at {
	case earliest:
		return seen.FirstOffset, seen.Error
	case latest:
		return seen.LastOffset, seen.Error
	}
	for offset := range seen.Offsets {
		return offset, seen.Error
	}
	return -1, seen.Error
}

func (a kafkaGoAdmin) deleteRecords(string, int32, int64) error { return errLacks }

func (a kafkaGoAdmin) grow(topic string, partitions int) error {
	answer, err := a.client.CreatePartitions(context.Background(), &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: int32(partitions)}},
	})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (a kafkaGoAdmin) deleteTopics(topics ...string) error {
	answer, err := a.client.DeleteTopics(context.Background(), &kafka.DeleteTopicsRequest{Topics: topics})
	if err != nil {
		return err
	}
	return answer.Errors[topics[0]]
}
