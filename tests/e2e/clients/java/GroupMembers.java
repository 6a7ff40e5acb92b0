import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Members of consumer groups by Kafka's own client; ../python/members.py says what is asked and said. */
public final class GroupMembers {
    private static final Map<String, Class<?>> ASSIGNORS = Map.of(
            "range", RangeAssignor.class, "roundrobin", RoundRobinAssignor.class, "sticky", StickyAssignor.class,
            "cooperative-sticky", CooperativeStickyAssignor.class);

    /** The library's own log, which its default is to write to standard output, goes to the other. */
    private static final PrintStream OUT = System.out;

    private static final class Member implements Runnable, ConsumerRebalanceListener {
        private final String name;
        private final String topic;
        private final Map<String, Object> settings;
        private final Map<TopicPartition, OffsetAndMetadata> pending = new HashMap<>();
        private KafkaConsumer<byte[], byte[]> consumer;
        private volatile boolean leaving;

        Member(String bootstrap, String[] words) {
            name = words[1];
            topic = words[2];
            settings = new HashMap<>(Map.of(
                    "bootstrap.servers", bootstrap, "group.id", words[3], "auto.offset.reset", "earliest",
                    "enable.auto.commit", "false", "max.poll.interval.ms", "15000", "fetch.max.wait.ms", "100"));
            if (words[4].equals("consumer")) {
                settings.put("group.protocol", "consumer");
            } else {
                settings.put("partition.assignment.strategy", List.of(ASSIGNORS.get(words[4])));
                settings.put("session.timeout.ms", "3000");
                settings.put("heartbeat.interval.ms", "500");
            }
        }

        private void say(long ms, Object... words) {
            StringBuilder line = new StringBuilder(name).append(' ').append(ms);
            for (Object word : words) {
                line.append(' ').append(word);
            }
            OUT.println(line);
        }

        private void say(String word, List<Object> more) {
            List<Object> words = new ArrayList<>(List.of(word));
            words.addAll(more);
            say(System.currentTimeMillis(), words.toArray());
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            List<Object> words = new ArrayList<>(List.of(consumer.groupMetadata().generationId()));
            partitions.forEach(p -> words.add(p.partition()));
            say("assigned", words);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            List<Object> words = new ArrayList<>();
            partitions.forEach(p -> words.add(p.partition()));
            pending.keySet().removeAll(partitions);
            say("revoked", words);
        }

        /** What is refused, but still the member's, is tried again with what comes next. */
        private void commit() {
            if (pending.isEmpty()) {
                return;
            }
            int generation = consumer.groupMetadata().generationId();
            long began = System.currentTimeMillis();
            try {
                consumer.commitSync(Map.copyOf(pending));
                pending.forEach((p, o) -> say(began, "committed", generation, p.partition(), o.offset()));
                pending.clear();
            } catch (KafkaException refused) {
                say("refused", List.of(refused.getClass().getSimpleName()));
            }
        }

        private void process(ConsumerRecords<byte[], byte[]> records) {
            for (TopicPartition partition : records.partitions()) {
                List<ConsumerRecord<byte[], byte[]>> some = records.records(partition);
                long last = some.get(some.size() - 1).offset();
                say("processed", List.of(partition.partition(), some.get(0).offset(), last));
                pending.put(partition, new OffsetAndMetadata(last + 1));
            }
        }

        private void consume() {
            try (KafkaConsumer<byte[], byte[]> own =
                    new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                consumer = own;
                consumer.subscribe(List.of(topic), this);
                while (!leaving) {
                    process(consumer.poll(Duration.ofMillis(100)));
                    commit();
                }
            }
        }

        @Override
        public void run() {
            try {
                consume();
                say("left", List.of());
            } catch (RuntimeException failure) {
                say("failed", List.of(failure.toString().replace('\n', ' ')));
            }
        }
    }

    public static void main(String[] args) throws Exception {
        System.setOut(System.err);
        Map<String, Member> members = new HashMap<>();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] words = line.split(" ");
            if (words[0].equals("join")) {
                members.put(words[1], new Member(args[1], words));
                new Thread(members.get(words[1])).start();
            } else {
                members.get(words[1]).leaving = true;
            }
        }
        System.exit(0);
    }
}
