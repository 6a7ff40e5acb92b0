import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Kafka's own consumers of one group for bench/groups.py, a thread each; groups_confluent.py says what is measured. */
public final class GroupMembers {
    private static final long LIMIT_MS = 120_000;

    private static final class Member implements ConsumerRebalanceListener, Runnable {
        final Set<Integer> partitions = ConcurrentHashMap.newKeySet();
        final KafkaConsumer<byte[], byte[]> consumer;
        final Thread thread = new Thread(this);
        volatile long assignedNanos;
        volatile boolean leaves;

        Member(Map<String, Object> settings, String topic) {
            consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            consumer.subscribe(List.of(topic), this);
            thread.setDaemon(true);
            thread.start();
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> some) {
            some.forEach(partition -> partitions.add(partition.partition()));
            assignedNanos = System.nanoTime();
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> some) {
            some.forEach(partition -> partitions.remove(partition.partition()));
        }

        @Override
        public void run() {
            try {
                while (!leaves) {
                    consumer.poll(Duration.ofMillis(100));
                }
            } catch (WakeupException woken) {
                // It is to leave.
            }
            consumer.close();
        }
    }

    private final Map<String, Object> settings;
    private final String topic;
    private final boolean isClassic;
    private final int partitions;
    private final List<Member> members = new ArrayList<>();

    private GroupMembers(String[] args) {
        topic = args[1];
        isClassic = args[2].equals("classic");
        settings = Map.of("bootstrap.servers", args[0], "group.id", topic + "-real-java-" + args[2], "group.protocol", args[2]);
        for (int i = 0; i < Integer.parseInt(args[3]); i++) {
            members.add(new Member(settings, topic));
        }
        try (KafkaConsumer<byte[], byte[]> looker =
                        new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            partitions = looker.partitionsFor(topic).size();
        }
    }

    private boolean isAssigned(long sinceNanos) {
        boolean[] seen = new boolean[partitions];
        int count = 0;
        for (Member member : members) {
            long at = member.assignedNanos;
            if (at == 0 || (isClassic && at - sinceNanos < 0)) {
                return false;
            }
            for (int partition : member.partitions) {
                if (seen[partition]) {
                    return false;
                }
                seen[partition] = true;
                count++;
            }
        }
        return count == partitions;
    }

    private void await(long sinceNanos, Member newcomer) throws InterruptedException {
        while (!((newcomer == null || !newcomer.partitions.isEmpty()) && isAssigned(sinceNanos))) {
            Thread.sleep(1);
            if (System.nanoTime() - sinceNanos > LIMIT_MS * 1_000_000) {
                throw new IllegalStateException("the group does not settle");
            }
        }
        System.out.println("{\"assigned_ms\": " + (System.nanoTime() - sinceNanos) / 1e6 + "}");
    }

    private void arrive() throws InterruptedException {
        long since = System.nanoTime();
        members.add(new Member(settings, topic));
        await(since, members.get(members.size() - 1));
    }

    private void leave() throws InterruptedException {
        Member leaver = members.remove(members.size() - 1);
        long since = System.nanoTime();
        leaver.leaves = true;
        leaver.consumer.wakeup();
        await(since, null);
        leaver.thread.join();
    }

    public static void main(String[] args) throws Exception {
        long since = System.nanoTime();
        GroupMembers group = new GroupMembers(args);
        group.await(since, null);
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            if (line.equals("arrive")) {
                group.arrive();
            } else {
                group.leave();
            }
        }
    }
}
