import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Kafka's own Java consumer, which does what it is told on its standard input; python/steered.py says what. */
public final class SteeredConsumer {
    public static void main(String[] args) throws Exception {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", args[0], "fetch.max.wait.ms", "50"));
        for (String setting : Arrays.copyOfRange(args, 2, args.length)) {
            String[] pair = setting.split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        try (KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(args[1]));
            for (String line = commands.readLine(); line != null; line = commands.readLine()) {
                try {
                    System.out.println(obey(consumer, line.split(" ")));
                } catch (RuntimeException failure) {
                    System.out.println("error " + failure.getClass().getSimpleName());
                }
                if (line.equals("close")) {
                    return;
                }
            }
        }
    }

    private static String obey(KafkaConsumer<byte[], byte[]> consumer, String[] words) {
        switch (words[0]) {
            case "poll" -> {
                StringBuilder said = new StringBuilder("records");
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(Long.parseLong(words[1])))) {
                    said.append(' ').append(record.offset());
                }
                return said.toString();
            }
            case "commit" -> consumer.commitSync();
            case "close" -> consumer.close();
            default -> throw new IllegalArgumentException(words[0]);
        }
        return "ok";
    }
}
