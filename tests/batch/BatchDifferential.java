import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.Random;
import java.util.function.Supplier;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.errors.CorruptRecordException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.PrimitiveRef;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.Timer;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogValidator;
import org.apache.kafka.storage.internals.log.RecordValidationException;

/** Apache Kafka's side of the differential batch test; driver.c is ours and says what the verbs do. */
public class BatchDifferential {
    static final long NOW_MS = 2000000;
    static final long BEFORE_MAX_MS = 1500000;
    static final long AFTER_MAX_MS = 3600000;
    static final short PRODUCE_VERSION = 9;
    static final int RECORD_ERRORS_MAX = 64;
    static final HexFormat HEX = HexFormat.of();

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false);
        if (args[0].equals("generate")) {
            Random random = new Random(Long.parseLong(args[2]));
            for (int i = 0; i < Integer.parseInt(args[1]); i++) {
                out.println(hex(generate(random)));
            }
        } else {
            BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
            for (String line; (line = in.readLine()) != null; ) {
                String[] words = line.split(" ", -1);
                MemoryRecords records =
                    MemoryRecords.readableRecords(ByteBuffer.wrap(HEX.parseHex(words[words.length - 1])));
                out.println(args[0].equals("describe") ? describe(records) : judge(words[0], records));
            }
        }
        out.flush();
    }

    static String hex(ByteBuffer buffer) {
        if (buffer == null) {
            return "null";
        }
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return HEX.formatHex(bytes);
    }

    static byte[] bytes(Random random, int max) {
        if (random.nextInt(5) == 0) {
            return null;
        }
        byte[] bytes = new byte[random.nextInt(20) == 0 ? random.nextInt(max) : random.nextInt(12)];
        if (random.nextBoolean()) {
            random.nextBytes(bytes);
        }
        return bytes;
    }

    static ByteBuffer generate(Random random) {
        CompressionType type = CompressionType.values()[random.nextInt(CompressionType.values().length)];
        boolean hasProducer = random.nextBoolean();
        boolean appendTime = random.nextInt(4) == 0;
        long time = random.nextInt(1 << 30);
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(512), RecordBatch.MAGIC_VALUE_V2,
            Compression.of(type).build(), appendTime ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME,
            random.nextInt(1 << 30), time, hasProducer ? random.nextInt(1 << 30) : RecordBatch.NO_PRODUCER_ID,
            hasProducer ? (short) random.nextInt(1 << 15) : RecordBatch.NO_PRODUCER_EPOCH,
            hasProducer ? Integer.MAX_VALUE - random.nextInt(3) : RecordBatch.NO_SEQUENCE,
            hasProducer && random.nextBoolean(), random.nextInt(100));
        int count = random.nextInt(30) == 0 ? 400 : 1 + random.nextInt(5);
        for (int i = 0; i < count; i++) {
            Header[] headers = new Header[random.nextInt(3)];
            for (int h = 0; h < headers.length; h++) {
                headers[h] = new RecordHeader("h".repeat(random.nextInt(100)), bytes(random, 300));
            }
            builder.append(new SimpleRecord(time + random.nextInt(100000), bytes(random, 3000), bytes(random, 70000),
                headers));
        }
        return builder.build().buffer();
    }

    static String describe(MemoryRecords records) {
        MutableRecordBatch batch = records.batches().iterator().next();
        batch.ensureValid();
        StringBuilder text = new StringBuilder(String.format(
            "%d-%d epoch=%d %s txn=%d control=%d append=%d time=%d-%d producer=%d/%d/%d-%d count=%d",
            batch.baseOffset(), batch.lastOffset(), batch.partitionLeaderEpoch(), batch.compressionType().name,
            batch.isTransactional() ? 1 : 0, batch.isControlBatch() ? 1 : 0,
            batch.timestampType() == TimestampType.LOG_APPEND_TIME ? 1 : 0,
            ((org.apache.kafka.common.record.internal.DefaultRecordBatch) batch).baseTimestamp(),
            batch.maxTimestamp(), batch.producerId(), batch.producerEpoch(), batch.baseSequence(),
            batch.lastSequence(), batch.countOrNull()));
        for (Record record : batch) {
            text.append(String.format(" (%d %d %s %s", record.offset(), record.timestamp(), hex(record.key()),
                hex(record.value())));
            for (Header header : record.headers()) {
                text.append(' ').append(HEX.formatHex(header.key().getBytes())).append('=');
                text.append(header.value() == null ? "null" : HEX.formatHex(header.value()));
            }
            text.append(')');
        }
        return text.toString();
    }

    /** In the order of a broker: the request, the log, the validator. */
    static String judge(String flags, MemoryRecords records) {
        try {
            ProduceRequest.validateRecords(PRODUCE_VERSION, records);
            CompressionType source = CompressionType.NONE;
            for (MutableRecordBatch batch : records.batches()) {
                if (batch.baseOffset() != 0) {
                    throw new InvalidRecordException("base offset");
                }
                if (!batch.isValid()) {
                    throw new CorruptRecordException("checksum");
                }
                source = batch.compressionType();
            }
            LogValidator validator = new LogValidator(records, new TopicPartition("topic", 0), new Still(), source,
                Compression.of(source).build(), flags.contains("c"), RecordBatch.MAGIC_VALUE_V2,
                flags.contains("a") ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME, BEFORE_MAX_MS,
                AFTER_MAX_MS, 7, AppendOrigin.CLIENT);
            LogValidator.ValidationResult result = validator.validateMessagesAndAssignOffsets(
                PrimitiveRef.ofLong(0), new NoMetrics(), BufferSupplier.NO_CACHING);
            return "0 [] " + result.validatedRecords().batches().iterator().next().maxTimestamp();
        } catch (RecordValidationException e) {
            StringBuilder indexes = new StringBuilder();
            e.recordErrors().stream().limit(RECORD_ERRORS_MAX).forEach(
                error -> indexes.append(indexes.length() > 0 ? "," : "").append(error.batchIndex));
            return Errors.forException(e.invalidException()).code() + " [" + indexes + "]";
        } catch (Throwable e) {
            String reason = String.valueOf(e.getMessage()).replace('\n', ' ').replace('#', ' ');
            return Errors.forException(e).code() + " [] # " + e.getClass().getSimpleName() + " " + reason;
        }
    }

    static class NoMetrics implements LogValidator.MetricsRecorder {
        public void recordInvalidMagic() { }

        public void recordInvalidOffset() { }

        public void recordInvalidSequence() { }

        public void recordInvalidChecksums() { }

        public void recordNoKeyCompactedTopic() { }
    }

    /** A clock that stands. */
    static class Still implements Time {
        public long milliseconds() {
            return NOW_MS;
        }

        public long hiResClockMs() {
            return NOW_MS;
        }

        public long nanoseconds() {
            return NOW_MS * 1000000;
        }

        public void sleep(long ms) { }

        public void waitObject(Object object, Supplier<Boolean> condition, long deadlineMs) { }

        public Timer timer(long timeoutMs) {
            return Time.SYSTEM.timer(timeoutMs);
        }
    }
}
