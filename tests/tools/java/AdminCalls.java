/*
 * The calls of Kafka's Java Admin client about groups, one a run: the address of a broker, the call, its arguments.
 * What comes back, or the exception's class and sentence, is printed in an order of its own.
 */

import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ClassicGroupDescription;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsOptions;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

public class AdminCalls {
    private interface Printer<T> {
        void print(String name, T value);
    }

    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[1]);
        properties.put("default.api.timeout.ms", "15000");
        properties.put("request.timeout.ms", "10000");
        List<String> rest = Arrays.asList(args).subList(3, args.length);
        try (Admin admin = Admin.create(properties)) {
            call(admin, args[2], rest);
        }
    }

    private static void call(Admin admin, String name, List<String> args) throws Exception {
        switch (name) {
            case "describe-consumer" -> all(admin.describeConsumerGroups(args).describedGroups(), AdminCalls::consumer);
            case "describe-classic" -> all(admin.describeClassicGroups(args).describedGroups(), AdminCalls::classic);
            case "list" -> list(admin, args);
            case "offsets" -> offsets(admin, args, false);
            case "stable-offsets" -> offsets(admin, args, true);
            case "alter-offsets" -> {
                Map<TopicPartition, OffsetAndMetadata> to = new HashMap<>();
                for (String one : args.subList(1, args.size())) {
                    String[] parts = one.split("[:=]");
                    to.put(partition(one), new OffsetAndMetadata(Long.parseLong(parts[2]), "by hand"));
                }
                var result = admin.alterConsumerGroupOffsets(args.get(0), to);
                for (TopicPartition partition : sorted(to.keySet())) {
                    one(partition.toString(), result.partitionResult(partition), (n, v) -> System.out.println(n + ": altered"));
                }
                one("all", result.all(), (n, v) -> System.out.println("all: altered"));
            }
            case "delete-offsets" -> {
                Set<TopicPartition> which = args.subList(1, args.size()).stream().map(AdminCalls::partition).collect(Collectors.toSet());
                var result = admin.deleteConsumerGroupOffsets(args.get(0), which);
                for (TopicPartition partition : sorted(which)) {
                    one(partition.toString(), result.partitionResult(partition), (n, v) -> System.out.println(n + ": deleted"));
                }
                one("all", result.all(), (n, v) -> System.out.println("all: deleted"));
            }
            case "delete" -> all(admin.deleteConsumerGroups(args).deletedGroups(), (n, v) -> System.out.println(n + ": deleted"));
            case "remove-all" -> one("all", admin.removeMembersFromConsumerGroup(args.get(0),
                new RemoveMembersFromConsumerGroupOptions()).all(), (n, v) -> System.out.println("all: removed"));
            case "remove" -> {
                Set<MemberToRemove> who = args.subList(1, args.size()).stream().map(MemberToRemove::new).collect(Collectors.toSet());
                RemoveMembersFromConsumerGroupOptions options = new RemoveMembersFromConsumerGroupOptions(who);
                options.reason("by hand");
                var result = admin.removeMembersFromConsumerGroup(args.get(0), options);
                for (String instance : args.subList(1, args.size())) {
                    one(instance, result.memberResult(new MemberToRemove(instance)), (n, v) -> System.out.println(n + ": removed"));
                }
                one("all", result.all(), (n, v) -> System.out.println("all: removed"));
            }
            case "describe-configs" -> {
                List<ConfigResource> resources = args.stream().map(AdminCalls::resource).toList();
                all(admin.describeConfigs(resources).values(), (n, config) -> config.entries().stream()
                    .filter(e -> e.name().startsWith("consumer.")).sorted(Comparator.comparing(ConfigEntry::name))
                    .forEach(e -> System.out.println(n + ": " + e.name() + "=" + e.value() + " " + e.source() + " " + e.type()
                        + (e.isReadOnly() ? " read-only" : "") + (e.isSensitive() ? " sensitive" : ""))));
            }
            case "alter-configs" -> {
                Collection<AlterConfigOp> ops = args.subList(1, args.size()).stream().map(word -> {
                    String[] pair = word.split("=", 2);
                    AlterConfigOp.OpType type = pair.length == 1 ? AlterConfigOp.OpType.DELETE : AlterConfigOp.OpType.SET;
                    return new AlterConfigOp(new ConfigEntry(pair[0], pair.length == 1 ? "" : pair[1]), type);
                }).toList();
                all(admin.incrementalAlterConfigs(Map.of(resource(args.get(0)), ops)).values(),
                    (n, v) -> System.out.println(n + ": altered"));
            }
            default -> throw new IllegalArgumentException(name);
        }
    }

    private static ConfigResource resource(String group) {
        return new ConfigResource(ConfigResource.Type.GROUP, group);
    }

    private static TopicPartition partition(String word) {
        String[] parts = word.split("[:=]");
        return new TopicPartition(parts[0], Integer.parseInt(parts[1]));
    }

    private static List<TopicPartition> sorted(Collection<TopicPartition> partitions) {
        return partitions.stream().sorted(Comparator.comparing(TopicPartition::toString)).toList();
    }

    /* Filters by their first letter: s for a state, t for a type, p for a protocol's type. */
    private static void list(Admin admin, List<String> filters) throws Exception {
        Set<GroupState> states = filters.stream().filter(f -> f.startsWith("s=")).map(f -> GroupState.parse(f.substring(2)))
            .collect(Collectors.toSet());
        Set<GroupType> types = filters.stream().filter(f -> f.startsWith("t=")).map(f -> GroupType.parse(f.substring(2)))
            .collect(Collectors.toSet());
        Set<String> protocols = filters.stream().filter(f -> f.startsWith("p=")).map(f -> f.substring(2)).collect(Collectors.toSet());
        ListGroupsOptions options = filters.contains("consumer") ? ListGroupsOptions.forConsumerGroups() : new ListGroupsOptions();
        if (!states.isEmpty()) {
            options.inGroupStates(states);
        }
        if (!types.isEmpty()) {
            options.withTypes(types);
        }
        if (!protocols.isEmpty()) {
            options.withProtocolTypes(protocols);
        }
        one("list", admin.listGroups(options).all(), (n, groups) -> groups.stream()
            .sorted(Comparator.comparing(GroupListing::groupId)).forEach(g -> System.out.println(g)));
    }

    private static void offsets(Admin admin, List<String> groups, boolean stable) throws Exception {
        Map<String, ListConsumerGroupOffsetsSpec> specs = new HashMap<>();
        for (String word : groups) {
            String[] parts = word.split("/");
            ListConsumerGroupOffsetsSpec spec = new ListConsumerGroupOffsetsSpec();
            if (parts.length > 1) {
                spec.topicPartitions(Arrays.stream(parts[1].split(",")).map(AdminCalls::partition).toList());
            }
            specs.put(parts[0], spec);
        }
        var result = admin.listConsumerGroupOffsets(specs, new ListConsumerGroupOffsetsOptions().requireStable(stable));
        for (String group : new TreeSet<>(specs.keySet())) {
            one(group, result.partitionsToOffsetAndMetadata(group), (n, offsets) -> {
                System.out.println(n + ": " + offsets.size() + " partitions");
                sorted(offsets.keySet()).forEach(p -> System.out.println(n + ": " + p + " " + offsets.get(p)));
            });
        }
    }

    private static void consumer(String name, ConsumerGroupDescription group) {
        System.out.println(name + ": " + group.type() + " " + group.groupState() + " simple=" + group.isSimpleConsumerGroup() + " assignor="
            + group.partitionAssignor() + " epoch=" + group.groupEpoch() + " target=" + group.targetAssignmentEpoch());
        members(name, group.members());
    }

    private static void classic(String name, ClassicGroupDescription group) {
        System.out.println(name + ": " + group.state() + " protocol=" + group.protocol() + " data=" + group.protocolData() + " simple="
            + group.isSimpleConsumerGroup());
        members(name, group.members());
    }

    private static void members(String name, Collection<MemberDescription> members) {
        members.stream().map(m -> name + ": member of " + m.clientId() + " at " + m.host() + " instance=" + m.groupInstanceId() + " rack="
            + m.rackId() + " epoch=" + m.memberEpoch() + " upgraded=" + m.upgraded() + " has="
            + m.assignment().topicPartitions().size() + " target=" + m.targetAssignment().map(t -> t.topicPartitions().size()))
            .sorted().forEach(System.out::println);
    }

    private static <K, T> void all(Map<K, KafkaFuture<T>> futures, Printer<T> printer) throws Exception {
        Map<String, KafkaFuture<T>> inOrder = new TreeMap<>();
        futures.forEach((key, future) -> inOrder.put(key.toString(), future));
        for (Map.Entry<String, KafkaFuture<T>> entry : inOrder.entrySet()) {
            one(entry.getKey(), entry.getValue(), printer);
        }
    }

    private static <T> void one(String name, KafkaFuture<T> future, Printer<T> printer) throws Exception {
        try {
            printer.print(name, future.get());
        } catch (ExecutionException | IllegalArgumentException failure) {
            Throwable cause = failure.getCause() == null ? failure : failure.getCause();
            System.out.println(name + ": " + cause.getClass().getSimpleName() + ": " + cause.getMessage());
        }
    }
}
