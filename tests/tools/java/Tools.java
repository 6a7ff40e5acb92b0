/*
 * Runs the main methods of Kafka's command-line tools in one JVM, one after the other.
 *
 * One JSON object a line comes in: {"main": class, "args": [...], "stdin": text, "timeoutMs": n}.
 * One goes out: {"exit": status, "out": text, "err": text}; "exit" is null when the tool did not end in time.
 */

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.kafka.common.utils.Exit;

public class Tools {
    private static final ObjectMapper JSON = new ObjectMapper();

    /* Ends a tool where it would have ended the process. */
    private static class Ended extends Error {
        Ended() {
            super("ended", null, false, false);
        }
    }

    /* One run: it is over with the first status that it wants to end with; what is printed later does not count. */
    private static class Run {
        private final List<Runnable> hooks = new CopyOnWriteArrayList<>();
        private final ByteArrayOutputStream out = new ByteArrayOutputStream();
        private final ByteArrayOutputStream err = new ByteArrayOutputStream();
        private ObjectNode answer;

        synchronized void end(Integer status) {
            if (answer == null) {
                answer = JSON.createObjectNode().put("exit", status)
                    .put("out", out.toString(StandardCharsets.UTF_8)).put("err", err.toString(StandardCharsets.UTF_8));
            }
        }
    }

    private static volatile Run current;

    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Exit.setExitProcedure((status, message) -> end(status));
        Exit.setHaltProcedure((status, message) -> end(status));
        Exit.setShutdownHookAdder((name, hook) -> current.hooks.add(hook));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            answers.println(JSON.writeValueAsString(run(JSON.readTree(line))));
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static void end(int status) {
        current.end(status);
        throw new Ended();
    }

    private static ObjectNode run(JsonNode step) throws Exception {
        String[] args = JSON.convertValue(step.get("args"), String[].class);
        Run run = new Run();
        current = run;
        System.setOut(new PrintStream(run.out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(run.err, true, StandardCharsets.UTF_8));
        System.setIn(new ByteArrayInputStream(step.path("stdin").asText("").getBytes(StandardCharsets.UTF_8)));

        Thread thread = new Thread(() -> invoke(run, step.get("main").asText(), args), "tool");
        thread.setDaemon(true);
        thread.start();
        thread.join(step.path("timeoutMs").asLong(30_000));
        if (thread.isAlive()) {
            run.end(null);
            thread.interrupt();
            thread.join(1_000);
        }
        return run.answer;
    }

    private static void invoke(Run run, String main, String[] args) {
        try {
            Class.forName(main).getMethod("main", String[].class).invoke(null, (Object) args);
        } catch (InvocationTargetException e) {
            if (!(e.getCause() instanceof Ended)) {
                System.err.println("Exception in thread \"main\" " + e.getCause());
                run.end(1);
            }
        } catch (ReflectiveOperationException e) {
            throw new IllegalArgumentException(e);
        }
        run.end(0);
        for (Runnable hook : run.hooks) {
            try {
                hook.run();
            } catch (Ended e) {
                continue;
            }
        }
    }
}
