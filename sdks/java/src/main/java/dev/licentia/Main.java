package dev.licentia;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** Commands for tests of verifiers: {@code vectors FOLDER} and {@code verdict}. */
public final class Main {
    private static final String USAGE = """
            Usage: vectors FOLDER   runs the cases in each *.json of the folder
                   verdict          reads cases as JSON lines, and prints verdicts as JSON lines
            """;

    private Main() {}

    public static void main(String[] arguments) throws IOException {
        int exitCode = 2;
        if (arguments.length == 2 && arguments[0].equals("vectors")) {
            exitCode = vectors(Path.of(arguments[1]));
        } else if (arguments.length == 1 && arguments[0].equals("verdict")) {
            exitCode = verdict();
        } else {
            System.err.print(USAGE);
        }
        System.exit(exitCode);
    }

    /** Runs every case of a folder, and stops at the first difference. Returns the exit code. */
    static int vectors(Path folder) throws IOException {
        List<Path> files;
        try (Stream<Path> entries = Files.list(folder)) {
            files = entries.filter(path -> path.toString().endsWith(".json")).sorted().toList();
        }
        int count = 0;
        for (Path file : files) {
            Object content = Json.parseCases(Files.readString(file));
            Map<String, Object> members = Json.asObject(content);
            for (Object given : (List<?>) (members == null ? content : members.get("cases"))) {
                String difference;
                try {
                    difference = Cases.check(given);
                } catch (IllegalArgumentException error) {
                    difference = error.getMessage();
                }
                if (difference != null) {
                    Object name = Json.asObject(given).get("name");
                    System.err.println(file.getFileName() + ": " + name + ": " + difference);
                    return 1;
                }
                count++;
            }
        }
        System.out.println(count + " cases passed");
        return count > 0 ? 0 : 1;
    }

    /** Prints one line for each line of standard input. Returns the exit code. */
    private static int verdict() throws IOException {
        PrintStream output = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            if (line.isBlank()) continue;
            String answer;
            try {
                answer = Json.write(Cases.run(Json.parseCases(line)));
            } catch (IllegalArgumentException error) {
                answer = Json.write(Map.of("error", error.getMessage()));
            }
            output.print(answer + "\n");
            output.flush();
        }
        return 0;
    }
}
