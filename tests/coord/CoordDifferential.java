import com.dynatrace.hash4j.hashing.HashStream64;
import com.dynatrace.hash4j.hashing.Hashing;
import com.google.re2j.Pattern;
import com.google.re2j.PatternSyntaxException;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.group.Utils;
import org.apache.kafka.coordinator.group.api.assignor.ConsumerGroupPartitionAssignor;
import org.apache.kafka.coordinator.group.api.assignor.GroupAssignment;
import org.apache.kafka.coordinator.group.api.assignor.MemberAssignment;
import org.apache.kafka.coordinator.group.api.assignor.SubscribedTopicDescriber;
import org.apache.kafka.coordinator.group.api.assignor.SubscriptionType;
import org.apache.kafka.coordinator.group.assignor.RangeAssignor;
import org.apache.kafka.coordinator.group.assignor.UniformAssignor;
import org.apache.kafka.coordinator.group.modern.Assignment;
import org.apache.kafka.coordinator.group.modern.GroupSpecImpl;
import org.apache.kafka.coordinator.group.modern.MemberSubscriptionAndAssignmentImpl;

/** Apache Kafka's side of the differential coordinator test; driver.c is ours and says what a case is. */
public class CoordDifferential {
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader in =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            int space = line.indexOf(' ');
            String verb = line.substring(0, space);
            String rest = line.substring(space + 1);
            out.println(switch (verb) {
                case "uniform" -> assign(new UniformAssignor(), rest);
                case "range" -> assign(new RangeAssignor(), rest);
                case "hash" -> hash(rest.split(" "));
                case "regex" -> regex(rest);
                default -> throw new IllegalArgumentException(verb);
            });
        }
        out.flush();
    }

    static Uuid topicId(int index) {
        return new Uuid(0, index + 1);
    }

    static String assign(ConsumerGroupPartitionAssignor assignor, String line) throws Exception {
        int[] at = {0};
        String[] words = line.split(" ");
        int topics = Integer.parseInt(words[at[0]++]);
        int[] counts = new int[topics];
        for (int t = 0; t < topics; t++) {
            counts[t] = Integer.parseInt(words[at[0]++]);
        }
        int members = Integer.parseInt(words[at[0]++]);
        String[] ids = new String[members];
        Map<String, MemberSubscriptionAndAssignmentImpl> specs = new LinkedHashMap<>();
        List<Set<Uuid>> subscriptions = new ArrayList<>();
        List<Optional<String>> instances = new ArrayList<>();
        for (int m = 0; m < members; m++) {
            ids[m] = words[at[0]++];
            String instance = words[at[0]++];
            instances.add(instance.equals("-") ? Optional.empty() : Optional.of(instance));
            int count = Integer.parseInt(words[at[0]++]);
            Set<Uuid> subscription = new TreeSet<>();
            for (int i = 0; i < count; i++) {
                subscription.add(topicId(Integer.parseInt(words[at[0]++])));
            }
            subscriptions.add(subscription);
        }
        List<Map<Uuid, Set<Integer>>> current = new ArrayList<>();
        for (int m = 0; m < members; m++) {
            current.add(new HashMap<>());
        }
        Map<Uuid, Map<Integer, String>> inverted = new HashMap<>();
        for (int t = 0; t < topics; t++) {
            for (int p = 0; p < counts[t]; p++) {
                int owner = Integer.parseInt(words[at[0]++]);
                if (owner >= 0) {
                    current.get(owner).computeIfAbsent(topicId(t), k -> new TreeSet<>()).add(p);
                    inverted.computeIfAbsent(topicId(t), k -> new HashMap<>()).put(p, ids[owner]);
                }
            }
        }
        for (int m = 0; m < members; m++) {
            specs.put(ids[m], new MemberSubscriptionAndAssignmentImpl(Optional.empty(), instances.get(m),
                subscriptions.get(m), new Assignment(Collections.unmodifiableMap(current.get(m)))));
        }
        boolean same = subscriptions.stream().distinct().count() == 1;
        SubscribedTopicDescriber describer = new SubscribedTopicDescriber() {
            public int numPartitions(Uuid id) {
                return counts[(int) id.getLeastSignificantBits() - 1];
            }

            public Set<String> racksForPartition(Uuid id, int partition) {
                return Set.of();
            }

            public Set<Integer> assignablePartitions(Uuid id) {
                throw new UnsupportedOperationException();
            }
        };
        GroupAssignment result = assignor.assign(new GroupSpecImpl(Collections.unmodifiableMap(specs),
            same ? SubscriptionType.HOMOGENEOUS : SubscriptionType.HETEROGENEOUS, inverted,
            Optional.empty()), describer);
        int[][] owners = new int[topics][];
        for (int t = 0; t < topics; t++) {
            owners[t] = new int[counts[t]];
            Arrays.fill(owners[t], -1);
        }
        for (int m = 0; m < members; m++) {
            MemberAssignment assignment = result.members().get(ids[m]);
            if (assignment == null) {
                continue;
            }
            for (Map.Entry<Uuid, Set<Integer>> e : assignment.partitions().entrySet()) {
                for (int p : e.getValue()) {
                    owners[(int) e.getKey().getLeastSignificantBits() - 1][p] = m;
                }
            }
        }
        StringBuilder text = new StringBuilder("owners");
        for (int[] topic : owners) {
            for (int owner : topic) {
                text.append(' ').append(owner);
            }
        }
        return text.toString();
    }

    /** Topics as NAME:UUID:RACKS,RACKS where each partition has its racks joined by '+', '-' for none. */
    static String hash(String[] topics) {
        Map<String, Long> hashes = new HashMap<>();
        for (String word : topics) {
            String[] parts = word.split(":", -1);
            Uuid id = Uuid.fromString(parts[1]);
            String[] partitions = parts[2].split(",");
            HashStream64 hasher = Hashing.xxh3_64().hashStream();
            hasher.putByte((byte) 0).putLong(id.getMostSignificantBits())
                .putLong(id.getLeastSignificantBits()).putString(parts[0]).putInt(partitions.length);
            for (int p = 0; p < partitions.length; p++) {
                hasher.putInt(p);
                if (!partitions[p].equals("-")) {
                    for (String rack : partitions[p].split("\\+")) {
                        hasher.putInt(rack.length()).putString(rack);
                    }
                }
            }
            hashes.put(parts[0], hasher.getAsLong());
        }
        return "hash " + Utils.computeGroupHash(hashes);
    }

    static final String[] NAMES = {"a", "ab", "abc", "A", "foo", "foobar", "foo-1", "foo.bar", "foo_bar",
        "orders", "orders-eu", "orders.eu.1", "x1", "1", "10", "__consumer_offsets"};

    static String regex(String pattern) {
        Pattern compiled;
        try {
            compiled = Pattern.compile(pattern);
        } catch (PatternSyntaxException e) {
            return "invalid";
        }
        StringBuilder text = new StringBuilder("matches");
        for (String name : NAMES) {
            if (compiled.matcher(name).matches()) {
                text.append(' ').append(name);
            }
        }
        return text.toString();
    }
}
