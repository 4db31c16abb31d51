package io.llara.spark;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.Encoder;
import io.llara.spark.TextEmbedder.InputType;
import java.io.File;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.sql.Row;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A standalone cluster of two workers, each a process with an executor of its own, on this machine:
 * processes are killed while a job runs, and nothing is lost or there twice.
 */
@Tag("nightly")
class ClusterTest {
  private static final int PATIENCE_SECONDS = 900;

  @TempDir Path folder;

  private final List<Process> processes = new ArrayList<>();
  private String master;

  @BeforeEach
  void startCluster() throws Exception {
    LocalSpark.requireUsable();
    installSpark();
    int port;
    try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      port = free.getLocalPort();
    }
    master = "spark://127.0.0.1:" + port;
    start(
        "master",
        "org.apache.spark.deploy.master.Master",
        "--host",
        "127.0.0.1",
        "--port",
        port + "",
        "--webui-port",
        "0");
    await("the master", () -> printed("master").contains("Starting Spark master at " + master));
    for (String worker : List.of("worker1", "worker2")) {
      start(
          worker,
          "org.apache.spark.deploy.worker.Worker",
          "--host",
          "127.0.0.1",
          "--cores",
          "1",
          "--memory",
          "1g",
          "--webui-port",
          "0",
          "--work-dir",
          folder.resolve(worker).toString(),
          master);
    }
    for (String worker : List.of("worker1", "worker2")) {
      await(worker, () -> printed(worker).contains("Successfully registered with master"));
    }
  }

  /** Makes what a distribution has: a folder of jars, from which workers start executors. */
  private void installSpark() throws IOException {
    Path jars = Files.createDirectories(folder.resolve("spark/jars"));
    for (String entry : classPath()) {
      Path path = Path.of(entry);
      if (Files.isRegularFile(path)) {
        Files.createSymbolicLink(jars.resolve(path.getFileName()), path);
      }
    }
  }

  private static List<String> classPath() {
    String path =
        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
    return List.of(path.split(File.pathSeparator));
  }

  private static String folders() {
    return classPath().stream()
        .filter(entry -> Files.isDirectory(Path.of(entry)))
        .map(entry -> Path.of(entry).toAbsolutePath().toString())
        .collect(Collectors.joining(File.pathSeparator));
  }

  @AfterEach
  void stopCluster() throws Exception {
    for (Process process : processes) {
      List<ProcessHandle> all = process.toHandle().descendants().collect(Collectors.toList());
      all.add(process.toHandle());
      all.forEach(ProcessHandle::destroyForcibly);
      process.waitFor();
    }
    // JUnit warns of links that lead out of the folder it deletes.
    try (Stream<Path> jars = Files.list(folder.resolve("spark/jars"))) {
      for (Path jar : jars.toList()) {
        Files.delete(jar);
      }
    }
  }

  @Test
  void anExecutorThatIsKilledLosesNothingAndADriverThatIsKilledGoesOn() throws Exception {
    Path vectors = folder.resolve("vectors");
    Process first = startDriver("driver1", vectors);
    await("some partitions", () -> parts(vectors) >= 3);
    int done = parts(vectors);
    kill(processes.get(1));
    await("more partitions", () -> parts(vectors) >= done + 3 || !first.isAlive());
    assertThat(first.isAlive()).as("the driver goes on: %s", printed("driver1")).isTrue();
    assertThat(printed("driver1")).contains("Lost executor");

    first.destroyForcibly().waitFor();
    int left = parts(vectors);
    assertThat(left).isLessThan(ClusterDriver.PARTITIONS);
    assertThat(vectors.resolve("_SUCCESS")).doesNotExist();

    Process second = startDriver("driver2", vectors);
    assertThat(second.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS))
        .as("the second driver ends: %s", printed("driver2"))
        .isTrue();
    assertThat(printed("driver2"))
        .contains(
            "embedded %d of %d"
                .formatted(ClusterDriver.PARTITIONS - left, ClusterDriver.PARTITIONS));
    assertThat(second.exitValue()).isZero();
    assertVectors(vectors);
  }

  /** Each text has one vector, that of this process to the last bit. */
  private static void assertVectors(Path folder) {
    Map<Long, float[]> written =
        LocalSpark.vectors(LocalSpark.session().read().parquet(folder.toString()));
    assertThat(written).hasSize(ClusterDriver.TEXTS.size());
    List<List<Row>> partitions =
        LocalSpark.partitions(LocalSpark.documents(ClusterDriver.TEXTS, ClusterDriver.PARTITIONS));
    try (Encoder encoder = LocalSpark.encoder(1)) {
      for (List<Row> partition : partitions) {
        List<String> texts = partition.stream().map(row -> row.getString(1)).toList();
        List<float[]> expected = LocalSpark.inOneCall(encoder, texts, InputType.PASSAGE);
        for (int i = 0; i < texts.size(); i++) {
          assertThat(written.get(partition.get(i).getLong(0))).isEqualTo(expected.get(i));
        }
      }
    }
  }

  /** Kills a worker and its executor, without a chance to say goodbye (SIGKILL). */
  private static void kill(Process worker) throws InterruptedException {
    List<ProcessHandle> executors = worker.toHandle().descendants().toList();
    assertThat(executors).as("executors of the worker").isNotEmpty();
    worker.destroyForcibly();
    executors.forEach(ProcessHandle::destroyForcibly);
    worker.waitFor();
  }

  private Process startDriver(String name, Path vectors) throws IOException {
    return start(name, ClusterDriver.class.getName(), master, vectors.toString(), folders());
  }

  private Process start(String name, String main, String... arguments) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("-Xmx512m");
    command.add("-Dlog4j2.configurationFile=" + log());
    command.addAll(
        java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
            .filter(option -> option.startsWith("--add-opens"))
            .toList());
    command.addAll(List.of("-cp", String.join(File.pathSeparator, classPath()), main));
    command.addAll(List.of(arguments));
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().put("SPARK_HOME", folder.resolve("spark").toString());
    builder.environment().put("SPARK_SCALA_VERSION", scalaVersion());
    builder.environment().put("SPARK_LOCAL_IP", "127.0.0.1");
    Process process =
        builder.redirectErrorStream(true).redirectOutput(output(name).toFile()).start();
    processes.add(process);
    return process;
  }

  private static String scalaVersion() {
    return scala.util.Properties.versionNumberString().replaceFirst("\\.[0-9]+$", "");
  }

  /** What a process says of its start is at level info. */
  private Path log() throws IOException {
    Path file = folder.resolve("log4j2.properties");
    if (!Files.exists(file)) {
      Files.writeString(
          file,
          """
          rootLogger.level = info
          rootLogger.appenderRef.stdout.ref = console
          appender.console.type = Console
          appender.console.name = console
          appender.console.layout.type = PatternLayout
          appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n
          """);
    }
    return file;
  }

  private Path output(String name) {
    return folder.resolve(name + ".txt");
  }

  private String printed(String name) {
    try {
      return Files.readString(output(name));
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private static int parts(Path vectors) {
    if (!Files.isDirectory(vectors)) {
      return 0;
    }
    try (Stream<Path> files = Files.list(vectors)) {
      return (int) files.filter(file -> file.getFileName().toString().startsWith("part-")).count();
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private void await(String what, BooleanSupplier condition) throws InterruptedException {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
    while (!condition.getAsBoolean()) {
      assertThat(System.nanoTime()).as("time to wait for %s", what).isLessThan(deadline);
      Thread.sleep(20);
    }
  }
}
