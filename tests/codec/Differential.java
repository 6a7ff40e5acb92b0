import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.ApiMessageType.ListenerType;
import org.apache.kafka.common.metadata.MetadataRecordType;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * Apache Kafka's side of the differential codec test: its generated classes against our driver.
 *
 * <p>Arguments: LIST (the output of "driver list"), OURS (of "driver generate"), THEIRS (to be
 * written, for "driver check"), N, SEED.
 *
 * <p>What we made must be read by Kafka's class, be written again to the same bytes, and convert to
 * the JSON that we print. What Kafka makes (random values for the fields of its own schemas) goes
 * to THEIRS. The lists of APIs, versions and records must be equal.
 */
public class Differential {
    private static final String[] PACKAGES = {
        "org.apache.kafka.common.message.",
        "org.apache.kafka.common.metadata.",
        "org.apache.kafka.coordinator.group.generated.",
        "org.apache.kafka.coordinator.transaction.generated.",
        "org.apache.kafka.coordinator.share.generated.",
        "org.apache.kafka.raft.generated.",
        "org.apache.kafka.server.log.remote.metadata.storage.generated.",
    };
    private static final int DIFFERENCES_SHOWN = 20;

    private final ObjectMapper json = new ObjectMapper();
    private final Map<String, Class<?>> classes = new HashMap<>();
    private final Set<String> covered = new HashSet<>();
    private final Set<String> coveredApis = new HashSet<>();
    private int messages;
    private int differences;

    public static void main(String[] args) throws Exception {
        System.exit(new Differential().run(args) ? 0 : 1);
    }

    private boolean run(String[] args) throws Exception {
        List<String> list = Files.readAllLines(Path.of(args[0]));
        checkList(list);
        readOurs(Path.of(args[1]));
        System.out.printf("from us to Apache Kafka: %d messages, %d differences%n",
            messages, differences);
        writeTheirs(list, Path.of(args[2]), Integer.parseInt(args[3]), Long.parseLong(args[4]));
        System.out.printf("covered: %d API x version x direction, %d schema x version in all%n",
            coveredApis.size(), covered.size());
        return differences == 0;
    }

    private void differ(String format, Object... args) {
        if (differences++ < DIFFERENCES_SHOWN) {
            System.out.printf("difference: " + format + "%n", args);
        }
    }

    private Class<?> classOf(String name) {
        return classes.computeIfAbsent(name, n -> {
            String kafkaName = n.startsWith("Kraft") ? "KRaft" + n.substring(5) : n;
            for (String pkg : PACKAGES) {
                for (String suffix : new String[] {"", "Data"}) {
                    try {
                        Class<?> found = Class.forName(pkg + kafkaName + suffix);
                        if (Message.class.isAssignableFrom(found)) {
                            return found;
                        }
                    } catch (ClassNotFoundException e) {
                        continue;
                    }
                }
            }
            throw new IllegalStateException("Apache Kafka has no message " + n);
        });
    }

    private Message newMessage(String name) throws ReflectiveOperationException {
        return (Message) classOf(name).getDeclaredConstructor().newInstance();
    }

    // ---- the lists

    private void checkList(List<String> list) throws ReflectiveOperationException {
        Map<String, int[]> schemas = new HashMap<>();
        Set<String> ours = new HashSet<>();
        for (String line : list) {
            String[] w = line.split(" ");
            if (w[0].equals("schema")) {
                schemas.put(w[1], new int[] {Integer.parseInt(w[2]), Integer.parseInt(w[3])});
            } else {
                ours.add(line);
            }
        }
        Set<String> theirs = new HashSet<>();
        for (ApiMessageType api : ApiMessageType.values()) {
            if (api.lowestSupportedVersion() > api.highestSupportedVersion(false)) {
                continue;
            }
            theirs.add(String.format("api %d %s %d %d %d %d %d", api.apiKey(), api.name,
                api.lowestSupportedVersion(), api.highestSupportedVersion(false),
                flexibleFrom(api), listens(api, ListenerType.BROKER),
                listens(api, ListenerType.CONTROLLER)));
            expect(schemas, api.name + "Request");
            expect(schemas, api.name + "Response");
        }
        symmetric(ours, theirs);
        for (MetadataRecordType type : MetadataRecordType.values()) {
            expect(schemas, type.newMetadataRecord().getClass().getSimpleName());
        }
        for (var type : org.apache.kafka.coordinator.group.generated.CoordinatorRecordType.values()) {
            expect(schemas, type.newRecordKey().getClass().getSimpleName());
            expect(schemas, type.newRecordValue().getClass().getSimpleName());
        }
        for (var type :
            org.apache.kafka.coordinator.transaction.generated.CoordinatorRecordType.values()) {
            expect(schemas, type.newRecordKey().getClass().getSimpleName());
            expect(schemas, type.newRecordValue().getClass().getSimpleName());
        }
        for (var type : org.apache.kafka.coordinator.share.generated.CoordinatorRecordType.values()) {
            expect(schemas, type.newRecordKey().getClass().getSimpleName());
            expect(schemas, type.newRecordValue().getClass().getSimpleName());
        }
        for (var schema : schemas.entrySet()) {
            Message message = newMessage(schema.getKey());
            int highest = message.highestSupportedVersion();
            if (schema.getKey().startsWith("InitProducerId")) {
                highest--; // its last version is unstable
            }
            if (schema.getValue()[0] != message.lowestSupportedVersion()
                || schema.getValue()[1] != highest) {
                differ("%s has versions %d-%d there", schema.getKey(),
                    message.lowestSupportedVersion(), highest);
            }
        }
    }

    private static int flexibleFrom(ApiMessageType api) {
        for (short v = api.lowestSupportedVersion(); v <= api.highestSupportedVersion(false); v++) {
            if (api.requestHeaderVersion(v) >= 2) {
                return firstFlexible(api);
            }
        }
        return -1;
    }

    /** May lie below the lowest supported version. */
    private static int firstFlexible(ApiMessageType api) {
        for (short v = 0; ; v++) {
            if (api.requestHeaderVersion(v) >= 2) {
                return Math.max(v, api.lowestSupportedVersion());
            }
        }
    }

    private static int listens(ApiMessageType api, ListenerType listener) {
        return api.listeners().contains(listener) ? 1 : 0;
    }

    private void expect(Map<String, int[]> schemas, String name) {
        if (!schemas.containsKey(name)) {
            differ("%s is missing here", name);
        }
    }

    private void symmetric(Set<String> ours, Set<String> theirs) {
        for (String line : ours) {
            if (!theirs.contains(line)) {
                differ("only here: %s", line);
            }
        }
        for (String line : theirs) {
            if (!ours.contains(line)) {
                differ("only there: %s", line);
            }
        }
    }

    // ---- from us to Kafka

    private void readOurs(Path path) throws Exception {
        try (DataInputStream in =
                 new DataInputStream(new BufferedInputStream(Files.newInputStream(path), 1 << 20))) {
            while (true) {
                int nameLength;
                try {
                    nameLength = in.readShort();
                } catch (EOFException e) {
                    return;
                }
                String name = new String(in.readNBytes(nameLength), StandardCharsets.UTF_8);
                short version = in.readShort();
                byte[] bytes = in.readNBytes(in.readInt());
                byte[] text = in.readNBytes(in.readInt());
                messages++;
                try {
                    compare(name, version, bytes, text);
                } catch (ReflectiveOperationException | RuntimeException | IOException e) {
                    differ("%s v%d: %s", name, version, e.getCause() == null ? e : e.getCause());
                }
            }
        }
    }

    private void compare(String name, short version, byte[] bytes, byte[] text)
        throws ReflectiveOperationException, IOException {
        String schema = name;
        short schemaVersion = version;
        int slash = name.indexOf('/');
        if (slash >= 0) {
            schema = name.substring(0, slash);
            ApiMessageType api = ApiMessageType.fromApiKey(Short.parseShort(name.substring(slash + 1)));
            schemaVersion = schema.equals("RequestHeader")
                ? api.requestHeaderVersion(version)
                : api.responseHeaderVersion(version);
        }
        Message message = newMessage(schema);
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        message.read(new ByteBufferAccessor(buffer), schemaVersion);
        if (buffer.hasRemaining()) {
            differ("%s v%d: %d bytes remain", name, version, buffer.remaining());
            return;
        }
        byte[] again = write(message, schemaVersion);
        if (!Arrays.equals(bytes, again)) {
            differ("%s v%d: %d bytes here, %d there: %s", name, version, bytes.length,
                again.length, message);
            return;
        }
        JsonNode theirs = toJson(message, schemaVersion);
        if (!json.readTree(json.writeValueAsBytes(theirs)).equals(json.readTree(text))) {
            differ("%s v%d: JSON%n  here  %s%n  there %s", name, version,
                new String(text, StandardCharsets.UTF_8), theirs);
        }
        cover(name, version, "to");
    }

    private static byte[] write(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException("the size was wrong");
        }
        return buffer.array();
    }

    private JsonNode toJson(Message message, short version) throws ReflectiveOperationException {
        Class<?> type = message.getClass();
        Method method = Class.forName(type.getName() + "JsonConverter")
            .getMethod("write", type, short.class, boolean.class);
        return (JsonNode) method.invoke(null, message, version, false);
    }

    private void cover(String name, short version, String direction) {
        if (name.indexOf('/') >= 0) {
            return;
        }
        covered.add(name + " " + version);
        if (name.endsWith("Request") || name.endsWith("Response")) {
            coveredApis.add(name + " " + version);
        }
    }

    // ---- from Kafka to us

    private void writeTheirs(List<String> list, Path path, int count, long seed) throws Exception {
        Random random = new Random(seed);
        try (DataOutputStream out = new DataOutputStream(
                 new BufferedOutputStream(Files.newOutputStream(path), 1 << 20))) {
            for (String line : list) {
                String[] w = line.split(" ");
                if (!w[0].equals("schema")) {
                    continue;
                }
                for (int v = Integer.parseInt(w[2]); v <= Integer.parseInt(w[3]); v++) {
                    for (int i = 0; i < count; i++) {
                        writeFrame(out, w[1], (short) v, invent(w[1], v, random));
                    }
                }
            }
        }
    }

    private static void writeFrame(DataOutputStream out, String name, short version, byte[] bytes)
        throws IOException {
        byte[] nameBytes = name.getBytes(StandardCharsets.UTF_8);
        out.writeShort(nameBytes.length);
        out.write(nameBytes);
        out.writeShort(version);
        out.writeInt(bytes.length);
        out.write(bytes);
        out.writeInt(0);
    }

    /** Random values in the shape of Kafka's own schema, made canonical by its own class. */
    private byte[] invent(String name, int version, Random random)
        throws ReflectiveOperationException {
        Schema[] schemas = (Schema[]) classOf(name).getField("SCHEMAS").get(null);
        Struct struct = inventStruct(schemas[version], random);
        ByteBuffer buffer = ByteBuffer.allocate(schemas[version].sizeOf(struct));
        schemas[version].write(buffer, struct);
        buffer.flip();
        Message message = newMessage(name);
        message.read(new ByteBufferAccessor(buffer), (short) version);
        return write(message, (short) version);
    }

    private Struct inventStruct(Schema schema, Random random) {
        Struct struct = new Struct(schema);
        for (BoundField field : schema.fields()) {
            struct.set(field, inventValue(field.def.type, random));
        }
        return struct;
    }

    private Object inventValue(Type type, Random random) {
        if (type instanceof TaggedFields tagged) {
            return inventTags(tagged, random);
        }
        if (type.isNullable() && random.nextInt(4) == 0) {
            return null;
        }
        if (type.isArray()) {
            Object[] items = new Object[random.nextInt(4)];
            for (int i = 0; i < items.length; i++) {
                items[i] = inventValue(type.arrayElementType().get(), random);
            }
            return items;
        }
        if (type instanceof Schema schema) {
            return inventStruct(schema, random);
        }
        String name = type.toString();
        switch (name) {
            case "BOOLEAN":
                return random.nextBoolean();
            case "INT8":
                return (byte) inventLong(random);
            case "INT16":
                return (short) inventLong(random);
            case "UINT16":
                return (int) (inventLong(random) & 0xffff);
            case "INT32":
                return (int) inventLong(random);
            case "UINT32":
                return inventLong(random) & 0xffffffffL;
            case "INT64":
                return inventLong(random);
            case "FLOAT64":
                return random.nextGaussian() * 1000;
            case "UUID":
                return new Uuid(inventLong(random), inventLong(random));
            default:
        }
        byte[] bytes = new byte[random.nextInt(20) == 0 ? 300 : random.nextInt(12)];
        if (name.contains("STRING")) {
            Arrays.setAll(new Byte[bytes.length], i -> bytes[i] = (byte) ('a' + random.nextInt(26)));
            return new String(bytes, StandardCharsets.US_ASCII)
                + (random.nextInt(8) == 0 ? "\u00fc\u4e2d\ud83d\ude00" : "");
        }
        random.nextBytes(bytes);
        if (name.contains("BYTES")) {
            return ByteBuffer.wrap(bytes);
        }
        if (name.contains("RECORDS")) {
            return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes));
        }
        throw new IllegalStateException("no values for the type " + name);
    }

    private TreeMap<Integer, Object> inventTags(TaggedFields tagged, Random random) {
        TreeMap<Integer, Object> values = new TreeMap<>();
        for (Map.Entry<Integer, Field> field : tagged.fields().entrySet()) {
            Object value = inventValue(field.getValue().type, random);
            // Null in a tagged struct: the schema writes it as -1, the generated class reads a
            // varint 0. The class is what runs; our own messages have this case.
            boolean isTaggedNull = value == null && field.getValue().type instanceof Schema;
            if (random.nextBoolean() && !isTaggedNull) {
                values.put(field.getKey(), value);
            }
        }
        if (random.nextInt(8) == 0) {
            int tag = 200 + random.nextInt(100000);
            byte[] data = new byte[random.nextInt(200)];
            random.nextBytes(data);
            values.put(tag, new RawTaggedField(tag, data));
        }
        return values;
    }

    private static long inventLong(Random random) {
        switch (random.nextInt(4)) {
            case 0:
                return random.nextInt(3) - 1;
            case 1:
                return new ArrayList<>(List.of(127L, 128L, 32767L, 32768L, 2147483647L,
                    2147483648L, Long.MAX_VALUE, Long.MIN_VALUE)).get(random.nextInt(8));
            default:
                return random.nextLong();
        }
    }
}
