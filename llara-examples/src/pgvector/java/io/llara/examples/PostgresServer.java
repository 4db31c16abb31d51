package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** A PostgreSQL server of a test's own, in a folder of its own, on the loopback interface. */
final class PostgresServer implements AutoCloseable {
  private final Path home;
  private final Path programs;
  private final int port;

  private PostgresServer(Path home, Path programs, int port) {
    this.home = home;
    this.programs = programs;
    this.port = port;
  }

  /** Returns the folder of the server's programs, where it is installed. */
  static Optional<Path> programs() throws IOException {
    List<Path> places = new ArrayList<>();
    Path debian = Path.of("/usr/lib/postgresql");
    if (Files.isDirectory(debian)) {
      try (Stream<Path> versions = Files.list(debian)) {
        versions.map(version -> version.resolve("bin")).forEach(places::add);
      }
    }
    for (String place : System.getenv("PATH").split(":")) {
      places.add(Path.of(place));
    }
    return places.stream().filter(place -> Files.isExecutable(place.resolve("initdb"))).findFirst();
  }

  static PostgresServer start(Path programs, Path home) throws Exception {
    int port;
    try (ServerSocket free = new ServerSocket(0)) {
      port = free.getLocalPort();
    }
    PostgresServer server = new PostgresServer(home, programs, port);
    if (isRoot()) {
      finish(List.of("chown", "postgres", home.toString()));
    }
    server.run("initdb", "-D", server.data(), "-A", "trust", "-U", "llara", "-N");
    String options = "-p %d -h 127.0.0.1 -k %s".formatted(port, home);
    server.run("pg_ctl", "-D", server.data(), "-l", home + "/log", "-o", options, "-w", "start");
    return server;
  }

  Connection connect() throws SQLException {
    return DriverManager.getConnection(
        "jdbc:postgresql://127.0.0.1:%d/postgres?user=llara".formatted(port));
  }

  @Override
  public void close() throws Exception {
    run("pg_ctl", "-D", data(), "-m", "fast", "-w", "stop");
    if (isRoot()) {
      finish(List.of("chown", "-R", "root", home.toString()));
    }
  }

  private String data() {
    return home.resolve("data").toString();
  }

  /** The server refuses to run as root; where root tests, it runs as Debian's user for it. */
  private void run(String program, String... arguments) throws Exception {
    List<String> command = new ArrayList<>();
    if (isRoot()) {
      command.addAll(List.of("runuser", "-u", "postgres", "--"));
    }
    command.add(programs.resolve(program).toString());
    command.addAll(List.of(arguments));
    finish(command);
  }

  private static boolean isRoot() {
    return System.getProperty("user.name").equals("root");
  }

  private static void finish(List<String> command) throws Exception {
    Path output = Files.createTempFile("llara-postgres", ".txt");
    Process process =
        new ProcessBuilder(command)
            .directory(Path.of("/").toFile())
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    int code = process.waitFor();
    String printed = Files.readString(output);
    Files.delete(output);
    assertThat(code).as("%s: %s", command, printed).isZero();
  }
}
