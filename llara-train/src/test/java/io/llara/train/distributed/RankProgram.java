package io.llara.train.distributed;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

/**
 * A program as a command would be: started plainly it starts its ranks, started as a rank it works.
 * Arguments: what to do, how many ranks, a folder for notes.
 */
final class RankProgram {
  private static final Duration TIMEOUT = Duration.ofSeconds(60);

  private RankProgram() {}

  public static void main(String[] arguments) throws Exception {
    var world = WorldSettings.from(System.getenv());
    if (world.isEmpty()) {
      System.exit(
          ProcessLauncher.run(
              ProcessLauncher.thisCommand(),
              Integer.parseInt(arguments[1]),
              Duration.ofSeconds(20),
              System.out::println));
    }
    int rank = world.orElseThrow().rank();
    Path notes = Path.of(arguments[2]);
    try (Communicator communicator = Communicator.gloo(world.orElseThrow(), TIMEOUT)) {
      switch (arguments[0]) {
        case "sum" -> {
          System.out.println("arguments " + List.of(arguments));
          System.out.println("sum " + communicator.allReduce(rank + 1)[0]);
        }
        case "listen" -> System.out.println("listening " + listening());
        case "leave" -> work(communicator, notes, rank == 1 ? 5 : Integer.MAX_VALUE);
        case "work" -> work(communicator, notes, Integer.MAX_VALUE);
        default -> throw new IllegalArgumentException(arguments[0]);
      }
    } catch (DistributedException e) {
      note(notes, "lost-" + rank, e.getMessage());
      System.exit(3);
    }
  }

  /** Returns the local addresses, in hexadecimal, that this process accepts connections at. */
  private static Set<String> listening() throws IOException {
    Set<String> sockets = new HashSet<>();
    try (Stream<Path> files = Files.list(Path.of("/proc/self/fd"))) {
      for (Path file : files.toList()) {
        try {
          sockets.add(Files.readSymbolicLink(file).toString());
        } catch (NoSuchFileException e) {
          // That of the listing.
        }
      }
    }
    Set<String> addresses = new TreeSet<>();
    for (String table : List.of("tcp", "tcp6")) {
      for (String line : Files.readAllLines(Path.of("/proc/self/net/" + table))) {
        String[] columns = line.strip().split("\\s+");
        if (columns[3].equals("0A") && sockets.contains("socket:[" + columns[9] + "]")) {
          addresses.add(columns[1].replaceFirst(":.*", ""));
        }
      }
    }
    return addresses;
  }

  /** Sums on and on, like the steps of a training run. */
  private static void work(Communicator communicator, Path notes, int steps) throws Exception {
    int rank = communicator.rank();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> note(notes, "ending-" + rank, "")));
    for (int step = 0; step < steps; step++) {
      communicator.allReduce(1);
      if (step == 1) {
        note(notes, "working-" + rank, Long.toString(ProcessHandle.current().pid()));
      }
      Thread.sleep(20);
    }
    Runtime.getRuntime().halt(7); // Without a farewell.
  }

  private static void note(Path notes, String name, String text) {
    try {
      Path whole = Files.writeString(notes.resolve(name + ".part"), text);
      Files.move(whole, notes.resolve(name));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
