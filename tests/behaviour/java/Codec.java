/*
 * Turns messages of Kafka's protocol into bytes and back, with kafka-clients' own generated classes.
 *
 * One JSON object a line comes in, one goes out:
 *   {"op": "encode", "api": "Fetch", "version": 12, "correlation": 1, "body": {...}} -> {"hex": ...}
 *   {"op": "decode", "api": "Fetch", "version": 12, "hex": ...} -> {"correlation": 1, "body": {...}}
 *   {"op": "batch", ...} -> {"hex": ...}     (see buildBatch)
 *   {"op": "apis"} -> {"apis": [{"key", "name", "oldest", "latest", "listeners"}]}
 *
 * Fields that a body leaves out get their default. Records of a request are given as hex; those of an
 * answer are printed as batches.
 */

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.Readable;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.utils.ByteBufferOutputStream;
import org.apache.kafka.common.utils.Crc32C;
import org.xerial.snappy.Snappy;

public class Codec {
    private static final String MESSAGES = "org.apache.kafka.common.message.";
    private static final ObjectMapper JSON =
        JsonMapper.builder().enable(JsonParser.Feature.ALLOW_COMMENTS).build();
    private static final int RECORDS_AT = 61;
    private static final Map<String, Schema> SCHEMAS = new HashMap<>();

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode answer;
            try {
                answer = handle((ObjectNode) JSON.readTree(line));
            } catch (InvocationTargetException e) {
                answer = JSON.createObjectNode().put("failure", e.getCause().toString());
            } catch (Exception e) {
                answer = JSON.createObjectNode().put("failure", e.toString());
            }
            out.println(JSON.writeValueAsString(answer));
        }
    }

    private static ObjectNode handle(ObjectNode step) throws Exception {
        switch (step.get("op").asText()) {
            case "encode":
                return encode(step);
            case "decode":
                return decode(step);
            case "batch":
                return JSON.createObjectNode().put("hex", HexFormat.of().formatHex(buildBatch(step)));
            case "apis":
                return apis();
            default:
                throw new IllegalArgumentException("unknown op in " + step);
        }
    }

    private static ApiKeys apiNamed(String name) {
        for (ApiKeys api : ApiKeys.values()) {
            if (api.name.equals(name)) {
                return api;
            }
        }
        throw new IllegalArgumentException("no API is named " + name);
    }

    private static ObjectNode apis() {
        ObjectNode answer = JSON.createObjectNode();
        ArrayNode list = answer.putArray("apis");
        for (ApiKeys api : ApiKeys.values()) {
            if (api.messageType.lowestSupportedVersion() > api.messageType.highestSupportedVersion(false)) {
                continue;
            }
            list.addObject().put("key", api.id).put("name", api.name)
                .put("oldest", api.oldestVersion()).put("latest", api.latestVersion())
                .put("listeners", api.messageType.listeners().toString());
        }
        return answer;
    }

    private static ObjectNode encode(ObjectNode step) throws Exception {
        ApiKeys api = apiNamed(step.get("api").asText());
        short version = (short) step.get("version").asInt();
        ObjectNode body = step.withObject("/body");
        schema(api.name + "Request").complete(body, version);

        RequestHeaderData header = new RequestHeaderData()
            .setRequestApiKey(api.id).setRequestApiVersion(version)
            .setCorrelationId(step.path("correlation").asInt())
            .setClientId(step.path("client").isTextual() ? step.get("client").asText() : "behaviour");
        ApiMessage message = (ApiMessage) Class.forName(MESSAGES + api.name + "RequestDataJsonConverter")
            .getMethod("read", JsonNode.class, short.class).invoke(null, body, version);

        short headerVersion = api.requestHeaderVersion(version);
        ObjectSerializationCache cache = new ObjectSerializationCache();
        int headerSize = header.size(cache, headerVersion);
        ByteBuffer bytes = ByteBuffer.allocate(headerSize + message.size(cache, version));
        ByteBufferAccessor writable = new ByteBufferAccessor(bytes);
        header.write(writable, cache, headerVersion);
        message.write(writable, cache, version);
        return JSON.createObjectNode().put("hex", HexFormat.of().formatHex(bytes.array()))
            .put("headerSize", headerSize);
    }

    private static ObjectNode decode(ObjectNode step) throws Exception {
        ApiKeys api = apiNamed(step.get("api").asText());
        short version = (short) step.get("version").asInt();
        ByteBuffer bytes = ByteBuffer.wrap(HexFormat.of().parseHex(step.get("hex").asText()));
        ByteBufferAccessor readable = new ByteBufferAccessor(bytes);
        ResponseHeaderData header = new ResponseHeaderData(readable, api.responseHeaderVersion(version));
        Object message = Class.forName(MESSAGES + api.name + "ResponseData")
            .getConstructor(Readable.class, short.class).newInstance(readable, version);
        if (bytes.hasRemaining()) {
            throw new IllegalStateException(bytes.remaining() + " bytes too many in an answer of " + api.name);
        }
        JsonNode body = (JsonNode) Class.forName(MESSAGES + api.name + "ResponseDataJsonConverter")
            .getMethod("write", message.getClass(), short.class).invoke(null, message, version);
        if (message instanceof FetchResponseData) {
            printRecords((FetchResponseData) message, body);
        }
        ObjectNode answer = JSON.createObjectNode().put("correlation", header.correlationId());
        answer.set("body", body);
        return answer;
    }

    /*
     * A batch from a description: codec, baseOffset, producerId, epoch, sequence, timestampType, leaderEpoch,
     * transactional, control, records [{key, value, timestamp, headers}]; a key or value is a string, null, or
     * {"repeat": text, "count": n}. The codec "snappy-raw" is snappy without the framing that Java's streams add.
     * Then `set` [[position, hex]...] overwrites bytes, and `fixCrc` makes the CRC right again.
     */
    private static byte[] buildBatch(ObjectNode step) throws IOException {
        ByteBufferOutputStream out = new ByteBufferOutputStream(1024);
        String codec = step.path("codec").asText("none");
        boolean snappyRaw = codec.equals("snappy-raw");
        long now = step.path("timestamp").asLong(1_700_000_000_000L);
        MemoryRecordsBuilder builder = new MemoryRecordsBuilder(out, (byte) 2,
            Compression.of(CompressionType.forName(snappyRaw ? "none" : codec)).build(),
            "LogAppendTime".equals(step.path("timestampType").asText())
                ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME,
            step.path("baseOffset").asLong(0), now,
            step.path("producerId").asLong(-1), (short) step.path("epoch").asInt(-1),
            step.path("sequence").asInt(-1), step.path("transactional").asBoolean(false),
            step.path("control").asBoolean(false), step.path("leaderEpoch").asInt(-1), Integer.MAX_VALUE);
        long offset = step.path("baseOffset").asLong(0);
        for (JsonNode record : step.withArray("/records")) {
            ArrayNode headerNodes = ((ObjectNode) record).withArray("/headers");
            Header[] headers = new Header[headerNodes.size()];
            for (int i = 0; i < headers.length; i++) {
                headers[i] = new RecordHeader(headerNodes.get(i).get(0).asText(), content(headerNodes.get(i).get(1)));
            }
            builder.appendWithOffset(record.path("offset").asLong(offset), record.path("timestamp").asLong(now),
                content(record.get("key")), content(record.get("value")), headers);
            offset++;
        }
        ByteBuffer built = builder.build().buffer();
        byte[] bytes = new byte[built.remaining()];
        built.get(bytes);
        if (snappyRaw) {
            bytes = packSnappyRaw(bytes);
        }
        for (JsonNode change : step.withArray("/set")) {
            byte[] part = HexFormat.of().parseHex(change.get(1).asText());
            System.arraycopy(part, 0, bytes, change.get(0).asInt(), part.length);
        }
        if (step.path("fixCrc").asBoolean(false)) {
            fixCrc(bytes);
        }
        return bytes;
    }

    private static void fixCrc(byte[] bytes) {
        ByteBuffer.wrap(bytes).putInt(17, (int) Crc32C.compute(bytes, 21, bytes.length - 21));
    }

    private static byte[] packSnappyRaw(byte[] plain) throws IOException {
        byte[] packed = Snappy.compress(Arrays.copyOfRange(plain, RECORDS_AT, plain.length));
        ByteBuffer batch = ByteBuffer.allocate(RECORDS_AT + packed.length);
        batch.put(plain, 0, RECORDS_AT).put(packed);
        batch.putInt(8, batch.capacity() - 12);
        batch.putShort(21, (short) CompressionType.SNAPPY.id);
        fixCrc(batch.array());
        return batch.array();
    }

    private static byte[] content(JsonNode node) {
        if (node == null || node.isNull()) {
            return null;
        }
        String text = node.isObject() ? node.get("repeat").asText().repeat(node.get("count").asInt()) : node.asText();
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /* The generated JSON leaves records out: they are put in from the message, which has the same order. */
    private static void printRecords(FetchResponseData message, JsonNode body) {
        for (int t = 0; t < message.responses().size(); t++) {
            var partitions = message.responses().get(t).partitions();
            for (int p = 0; p < partitions.size(); p++) {
                var records = (MemoryRecords) partitions.get(p).records();
                ObjectNode node = (ObjectNode) body.get("responses").get(t).get("partitions").get(p);
                node.set("records", records == null ? JSON.nullNode() : printBatches(records));
            }
        }
    }

    private static JsonNode printBatches(MemoryRecords records) {
        ArrayNode list = JSON.createArrayNode();
        int used = 0;
        for (MutableRecordBatch batch : records.batches()) {
            used += batch.sizeInBytes();
            ObjectNode node = list.addObject();
            node.put("baseOffset", batch.baseOffset()).put("lastOffset", batch.lastOffset())
                .put("leaderEpoch", batch.partitionLeaderEpoch()).put("magic", batch.magic())
                .put("codec", batch.compressionType().name).put("timestampType", batch.timestampType().name)
                .put("maxTimestamp", batch.maxTimestamp()).put("producerId", batch.producerId())
                .put("producerEpoch", batch.producerEpoch()).put("baseSequence", batch.baseSequence())
                .put("transactional", batch.isTransactional()).put("control", batch.isControlBatch())
                .put("valid", batch.isValid());
            if (!batch.isCompressed()) {
                node.put("bytes", batch.sizeInBytes());
            }
            ArrayNode printed = node.putArray("records");
            for (Record record : batch) {
                ObjectNode one = printed.addObject();
                one.put("offset", record.offset()).put("timestamp", record.timestamp())
                    .put("key", text(record.key())).put("value", text(record.value()));
                for (Header header : record.headers()) {
                    byte[] value = header.value();
                    one.withArray("/headers").addArray().add(header.key())
                        .add(value == null ? null : new String(value, StandardCharsets.UTF_8));
                }
            }
        }
        if (used < records.sizeInBytes()) {
            list.addObject().put("partialBytes", records.sizeInBytes() - used);
        }
        return list;
    }

    private static String text(ByteBuffer bytes) {
        if (bytes == null) {
            return null;
        }
        String text = StandardCharsets.UTF_8.decode(bytes.duplicate()).toString();
        return text.length() <= 64 ? text : text.substring(0, 16) + "... " + bytes.remaining() + " bytes";
    }

    private static Schema schema(String name) throws Exception {
        Schema schema = SCHEMAS.get(name);
        if (schema == null) {
            try (InputStream in = Codec.class.getResourceAsStream("/common/message/" + name + ".json")) {
                schema = new Schema(JSON.readTree(in));
            }
            SCHEMAS.put(name, schema);
        }
        return schema;
    }

    /* A message's fields as kafka-clients' own description has them. */
    private static class Schema {
        private final JsonNode root;
        private final Map<String, JsonNode> common = new HashMap<>();

        Schema(JsonNode root) {
            this.root = root;
            for (JsonNode struct : root.path("commonStructs")) {
                common.put(struct.get("name").asText(), struct.get("fields"));
            }
        }

        void complete(ObjectNode body, short version) {
            complete(body, root.get("fields"), version);
        }

        private void complete(ObjectNode body, JsonNode fields, short version) {
            for (JsonNode field : fields) {
                if (!covers(field.get("versions").asText(), version)) {
                    continue;
                }
                String name = lowerFirst(field.get("name").asText());
                if (!body.has(name)) {
                    if (!field.has("taggedVersions") || !covers(field.get("taggedVersions").asText(), version)) {
                        body.set(name, defaultOf(field, version));
                    }
                    continue;
                }
                JsonNode given = body.get(name);
                if (type(field).equals("records") && given.isTextual()) {
                    body.put(name, Base64.getEncoder().encodeToString(HexFormat.of().parseHex(given.asText())));
                }
                JsonNode inner = structFields(field);
                if (inner == null) {
                    continue;
                }
                if (given.isArray()) {
                    given.forEach(element -> complete((ObjectNode) element, inner, version));
                } else if (given.isObject()) {
                    complete((ObjectNode) given, inner, version);
                }
            }
        }

        private JsonNode structFields(JsonNode field) {
            return field.has("fields") ? field.get("fields") : common.get(type(field).replace("[]", ""));
        }

        private static String type(JsonNode field) {
            return field.get("type").asText();
        }

        private JsonNode defaultOf(JsonNode field, short version) {
            String type = type(field);
            String value = field.path("default").asText("");
            if (value.equals("null")) {
                return JSON.nullNode();
            }
            if (type.startsWith("[]")) {
                return JSON.createArrayNode();
            }
            switch (type) {
                case "string":
                    return JSON.getNodeFactory().textNode(value);
                case "bytes":
                    return JSON.getNodeFactory().binaryNode(new byte[0]);
                case "records":
                    return JSON.nullNode();
                case "uuid":
                    return JSON.getNodeFactory().textNode("AAAAAAAAAAAAAAAAAAAAAA");
                case "bool":
                    return JSON.getNodeFactory().booleanNode(value.equals("true"));
                case "float64":
                    return JSON.getNodeFactory().numberNode(value.isEmpty() ? 0.0 : Double.parseDouble(value));
                case "int8":
                case "int16":
                case "uint16":
                case "int32":
                case "uint32":
                case "int64":
                    return JSON.getNodeFactory().numberNode(value.isEmpty() ? 0L : Long.decode(value));
                default:
                    ObjectNode struct = JSON.createObjectNode();
                    complete(struct, structFields(field), version);
                    return struct;
            }
        }

        private static boolean covers(String range, int version) {
            if (range.equals("none")) {
                return false;
            }
            if (range.endsWith("+")) {
                return version >= Integer.parseInt(range.substring(0, range.length() - 1));
            }
            int dash = range.indexOf('-');
            int from = Integer.parseInt(dash < 0 ? range : range.substring(0, dash));
            int to = Integer.parseInt(dash < 0 ? range : range.substring(dash + 1));
            return from <= version && version <= to;
        }

        private static String lowerFirst(String name) {
            return Character.toLowerCase(name.charAt(0)) + name.substring(1);
        }
    }
}
