import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Kafka's own Java client as a client program; python/driver.py says what one does. */
public final class JavaClient {
    private static final String MAX_MESSAGE_BYTES = "2097152";
    private static final Duration TIMEOUT = Duration.ofSeconds(30);

    private record Planned(int partition, Long timestamp, byte[] key, byte[] value, List<Header> headers) {}

    public static void main(String[] args) throws Exception {
        String bootstrap = args[1];
        switch (args[0]) {
            case "produce" -> {
                List<Planned> plan = readPlan(Path.of(args[2]));
                for (String word : Arrays.copyOfRange(args, 3, args.length)) {
                    String[] parts = word.split(":");
                    attempt(parts[0], () -> produce(bootstrap, parts[0], parts[1], parts.length < 3, plan));
                }
            }
            case "consume" -> {
                for (String topic : Arrays.copyOfRange(args, 3, args.length)) {
                    attempt(topic, () -> consume(bootstrap, topic, Path.of(args[2], topic + ".tsv")));
                }
            }
            case "group" -> {
                for (String topic : Arrays.copyOfRange(args, 5, args.length)) {
                    attempt(topic, () -> group(
                            bootstrap, topic, args[3], Integer.parseInt(args[4]), Path.of(args[2], topic + ".tsv")));
                }
            }
            case "admin" -> admin(bootstrap, args[2]);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static void attempt(String topic, Callable<Void> action) {
        long began = System.nanoTime();
        try {
            action.call();
            System.out.printf("ok\t%s\t%.2f%n", topic, (System.nanoTime() - began) / 1e9);
        } catch (Exception failure) {
            System.out.println("failed\t" + topic + "\t" + failure.toString().replace('\n', ' '));
        }
    }

    private static byte[] decode(String text) {
        return text.equals("~") ? null : Base64.getDecoder().decode(text);
    }

    private static String encode(byte[] data) {
        return data == null ? "~" : Base64.getEncoder().encodeToString(data);
    }

    private static List<Planned> readPlan(Path path) throws IOException {
        List<Planned> plan = new ArrayList<>();
        for (String line : Files.readAllLines(path, StandardCharsets.US_ASCII)) {
            String[] fields = line.split("\t", -1);
            List<Header> headers = new ArrayList<>();
            for (String pair : fields[5].isEmpty() ? new String[0] : fields[5].split(",")) {
                int colon = pair.indexOf(':');
                headers.add(new RecordHeader(pair.substring(0, colon), decode(pair.substring(colon + 1))));
            }
            Long timestamp = fields[2].equals("~") ? null : Long.valueOf(fields[2]);
            plan.add(new Planned(Integer.parseInt(fields[0]), timestamp, decode(fields[3]), decode(fields[4]), headers));
        }
        return plan;
    }

    private static void createTopic(Admin admin, String topic, Map<String, String> configs) throws Exception {
        NewTopic created = new NewTopic(topic, Optional.of(3), Optional.of((short) 1)).configs(configs);
        admin.createTopics(List.of(created)).all().get();
    }

    private static KafkaProducer<byte[], byte[]> producer(String bootstrap, String codec, boolean idempotent) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("compression.type", codec);
        settings.put("enable.idempotence", idempotent);
        settings.put("acks", idempotent ? "all" : "1");
        settings.put("max.request.size", MAX_MESSAGE_BYTES);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static Void produce(String bootstrap, String topic, String codec, boolean idempotent, List<Planned> plan)
            throws Exception {
        if (idempotent) {
            try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
                createTopic(admin, topic, Map.of("max.message.bytes", MAX_MESSAGE_BYTES));
            }
        }
        try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, codec, idempotent)) {
            List<Future<?>> sent = new ArrayList<>();
            for (Planned record : plan) {
                sent.add(producer.send(new ProducerRecord<>(
                        topic, record.partition, record.timestamp, record.key, record.value, record.headers)));
            }
            for (Future<?> one : sent) {
                one.get();
            }
        }
        return null;
    }

    private static Void consume(String bootstrap, String topic, Path out) throws Exception {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", bootstrap, "enable.auto.commit", "false", "fetch.max.wait.ms", "50");
        try (KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                BufferedWriter writer = Files.newBufferedWriter(out, StandardCharsets.US_ASCII)) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(p -> new TopicPartition(topic, p.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            long deadline = System.nanoTime() + TIMEOUT.toNanos();
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("not everything was read in time");
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    writer.write(line(record));
                }
            }
        }
        return null;
    }

    private static Void group(String bootstrap, String topic, String group, int count, Path out) throws Exception {
        Map<String, Object> settings = new HashMap<>(Map.of(
                "bootstrap.servers", bootstrap, "group.id", group, "auto.offset.reset", "earliest",
                "enable.auto.commit", "false", "fetch.max.wait.ms", "50"));
        if (group.contains("consumer")) {
            settings.put("group.protocol", "consumer");
        }
        try (KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                BufferedWriter writer = Files.newBufferedWriter(out, StandardCharsets.US_ASCII)) {
            consumer.subscribe(List.of(topic));
            long deadline = System.nanoTime() + TIMEOUT.toNanos();
            for (int seen = 0; seen < count;) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException(seen + " of " + count + " records read");
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    writer.write(line(record));
                    seen++;
                }
            }
            consumer.commitSync();
        }
        return null;
    }

    private static String line(ConsumerRecord<byte[], byte[]> record) {
        List<String> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            headers.add(header.key() + ":" + encode(header.value()));
        }
        return String.join("\t", Integer.toString(record.partition()), Long.toString(record.offset()),
                Long.toString(record.timestamp()), encode(record.key()), encode(record.value()),
                String.join(",", headers)) + "\n";
    }

    /** The error code a call failed with; 0 when it did not fail. */
    private static int codeOf(Future<?> future) throws InterruptedException {
        try {
            future.get();
            return 0;
        } catch (ExecutionException failure) {
            return Errors.forException(failure.getCause()).code();
        }
    }

    private static void show(String name, Object value) {
        System.out.println(name + "=" + (value instanceof Boolean b ? (b ? "True" : "False") : value));
    }

    /** What the call gives once it gives `wanted`, or at last: a broker learns of a change a moment later. */
    private static <T> T until(T wanted, Callable<T> call) throws Exception {
        long deadline = System.nanoTime() + 10_000_000_000L;
        T seen = call.call();
        while (!seen.equals(wanted) && System.nanoTime() < deadline) {
            Thread.sleep(50);
            seen = call.call();
        }
        return seen;
    }

    private static void admin(String bootstrap, String topic) throws Exception {
        String withDefaults = topic + "-default";
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            createTopic(admin, topic, Map.of("retention.ms", "7200000", "max.message.bytes", MAX_MESSAGE_BYTES));
            createTopic(admin, withDefaults, Map.of());
            show("created.again", codeOf(admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1))).all()));
            show("created.badly", codeOf(admin.createTopics(List.of(new NewTopic("a/b", 3, (short) 1))).all()));
            show("listed", admin.listTopics().names().get().contains(topic));
            show("partitions", until(3, () -> partitions(admin, topic)));
            Config config = describe(admin, topic);
            for (String name : List.of("retention.ms", "max.message.bytes", "segment.bytes")) {
                show(name, config.get(name).value());
            }
            alter(admin, topic, "retention.ms", "3600000").get();
            show("retention.ms.altered", describe(admin, topic).get("retention.ms").value());
            show("altered.badly", codeOf(alter(admin, topic, "retention.ms", "soon")));

            long began = System.currentTimeMillis() - 60000;
            TopicPartition where = new TopicPartition(topic, 1);
            try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, "none", true)) {
                for (int i = 0; i < 5; i++) {
                    producer.send(new ProducerRecord<>(topic, 1, began + i * 1000L, null, new byte[10])).get();
                }
                show("offset.earliest", offset(admin, where, OffsetSpec.earliest()));
                show("offset.latest", offset(admin, where, OffsetSpec.latest()));
                show("offset.max", offset(admin, where, OffsetSpec.maxTimestamp()));
                show("offset.time", offset(admin, where, OffsetSpec.forTimestamp(began + 1500)));
                show("records.deleted", admin.deleteRecords(Map.of(where, RecordsToDelete.beforeOffset(2)))
                        .lowWatermarks().get(where).get().lowWatermark());
                show("offset.earliest.deleted", offset(admin, where, OffsetSpec.earliest()));
                show("too.large", codeOf(producer.send(new ProducerRecord<>(withDefaults, new byte[1 << 20]))));
            }
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
            show("partitions.grown", until(5, () -> partitions(admin, topic)));
            admin.deleteTopics(List.of(topic, withDefaults)).all().get();
            show("deleted", until(true, () -> !admin.listTopics().names().get().contains(topic)));
        }
    }

    private static int partitions(Admin admin, String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
    }

    private static Config describe(Admin admin, String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        return admin.describeConfigs(List.of(resource)).all().get().get(resource);
    }

    private static Future<?> alter(Admin admin, String topic, String name, String value) {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        AlterConfigOp set = new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET);
        return admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all();
    }

    private static long offset(Admin admin, TopicPartition where, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(where, spec)).partitionResult(where).get().offset();
    }
}
