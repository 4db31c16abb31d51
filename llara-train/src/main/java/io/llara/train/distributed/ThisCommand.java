package io.llara.train.distributed;

import com.google.common.base.Splitter;
import java.io.IOException;
import java.nio.charset.Charset;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** The command line of this process. */
final class ThisCommand {
  /**
   * Where Linux keeps it, argument by argument. {@link ProcessHandle} reads the first page of it
   * only, which a class path alone can fill, and the property {@code sun.java.command} has lost the
   * borders between arguments.
   */
  private static final Path ARGUMENTS = Path.of("/proc/self/cmdline");

  private static final Path PROGRAM = Path.of("/proc/self/exe");

  private ThisCommand() {}

  static List<String> get() {
    List<String> command = new ArrayList<>();
    command.add(program());
    arguments().filter(argument -> !isDebugger(argument)).forEach(command::add);
    return command;
  }

  private static String program() {
    try {
      return PROGRAM.toRealPath().toString();
    } catch (IOException e) {
      Optional<String> known = ProcessHandle.current().info().command();
      return known.orElse(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    }
  }

  private static Stream<String> arguments() {
    try {
      // As bytes: arguments need not be text, but the way back through the same encoding is exact.
      String line = new String(Files.readAllBytes(ARGUMENTS), encoding());
      List<String> all = new ArrayList<>(Splitter.on('\0').splitToList(line));
      all.remove(all.size() - 1); // After the last terminator.
      return all.stream().skip(1);
    } catch (IOException e) {
      return ProcessHandle.current()
          .info()
          .arguments()
          .map(Stream::of)
          .orElseThrow(
              () ->
                  new DistributedException(
                      "this system does not report the arguments of a process; start the ranks with"
                          + " RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT set"));
    }
  }

  /** Returns the encoding in which the JVM passes arguments to a process. */
  static Charset encoding() {
    String name = System.getProperty("sun.jnu.encoding");
    return name == null ? Charset.defaultCharset() : Charset.forName(name);
  }

  /** A debugger's port can be opened once only. */
  private static boolean isDebugger(String argument) {
    return argument.startsWith("-agentlib:jdwp") || argument.startsWith("-Xrunjdwp");
  }
}
