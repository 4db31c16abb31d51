package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.jar.Attributes;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs the launcher script with a program in place of the command line that says what it sees. */
class LauncherTest {
  @TempDir private Path home;

  private Path script;

  @BeforeEach
  void install() throws IOException {
    Path source = Path.of("src/main/launcher/llara");
    assumeTrue(Files.isExecutable(Path.of("/bin/sh")), "needs a POSIX shell");
    script = Files.createDirectory(home.resolve("bin")).resolve("llara");
    Files.copy(source, script);
    Manifest manifest = new Manifest();
    manifest.getMainAttributes().put(Attributes.Name.MANIFEST_VERSION, "1.0");
    manifest.getMainAttributes().put(Attributes.Name.MAIN_CLASS, Program.class.getName());
    Path jar = Files.createDirectory(home.resolve("lib")).resolve("llara-examples.jar");
    String entry = Program.class.getName().replace('.', '/') + ".class";
    try (OutputStream out = Files.newOutputStream(jar);
        JarOutputStream zip = new JarOutputStream(out, manifest);
        InputStream in = Program.class.getResourceAsStream("/" + entry)) {
      zip.putNextEntry(new JarEntry(entry));
      in.transferTo(zip);
    }
  }

  /** Prints its arguments, whether a file of each one's name exists, and some properties. */
  static final class Program {
    private Program() {}

    public static void main(String[] args) {
      PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
      for (String arg : args) {
        out.println(arg + " " + Files.exists(Path.of(arg)));
      }
      out.println("home " + System.getProperty("user.home"));
      out.println("stdin closed " + System.getProperty("llara.stdin.closed"));
    }
  }

  private record Outcome(int code, String out) {}

  private Outcome run(Map<String, String> environment, String shell, String... args)
      throws Exception {
    List<String> command = new ArrayList<>(List.of("/bin/sh", "-c", shell, script.toString()));
    command.addAll(Arrays.asList(args));
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    builder.environment().keySet().removeIf(name -> name.startsWith("LC_") || name.equals("LANG"));
    builder.environment().remove("LLARA_JVM_OPTS");
    builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
    builder.environment().putAll(environment);
    Process process = builder.start();
    process.getOutputStream().close();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return new Outcome(process.waitFor(), out);
  }

  @Test
  void argumentsAndFileNamesAreUtf8WhateverTheLocale() throws Exception {
    for (Map<String, String> locale :
        List.of(
            Map.<String, String>of(),
            Map.of("LANG", "de_DE.UTF-8"),
            Map.of("LC_CTYPE", "UTF-8"),
            Map.of("LC_ALL", "POSIX"),
            Map.of("LANG", "xx_XX.ISO-8859-1"),
            Map.of("LC_ALL", "C.UTF-8"))) {
      Outcome outcome =
          run(
              locale,
              "cd \"${0%/*}\" && f=$(printf 'fl\\303\\274gel') && : > \"$f\" && exec sh ./llara \"$f\"");
      assertThat(outcome.out()).as(locale.toString()).startsWith("flügel true\n");
      assertThat(outcome.code()).isZero();
    }
  }

  @Test
  void refusesASystemWithoutAUtf8Locale() throws Exception {
    Path tools = Files.createDirectory(home.resolve("tools"));
    Path locale =
        Files.writeString(
            tools.resolve("locale"),
            "#!/bin/sh\n[ \"$1\" = -a ] && echo C || echo ANSI_X3.4-1968\n");
    assertThat(locale.toFile().setExecutable(true)).isTrue();
    Outcome outcome =
        run(Map.of("PATH", tools + ":" + System.getenv("PATH")), "exec sh \"$0\" --help");
    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.out())
        .isEqualTo(
            "llara: no locale of this system has the character encoding UTF-8; install one, such as"
                + " C.UTF-8\n");
  }

  @Test
  void theHomeDirectoryIsThatOfTheEnvironment() throws Exception {
    String place = home.resolve("a home").toString();
    assertThat(run(Map.of("HOME", place), "exec sh \"$0\"").out()).contains("home " + place + "\n");
  }

  @Test
  void aClosedStandardInputIsToldFromAnEmptyOne() throws Exception {
    assertThat(run(Map.of(), "exec sh \"$0\" <&-").out()).contains("stdin closed true");
    assertThat(run(Map.of(), "exec sh \"$0\" < /dev/null").out()).contains("stdin closed false");
  }

  /** Written by the first run of such a command, where Java can do that; used by the second. */
  @Test
  void theArchiveOfLoadedClassesChangesNoOutput() throws Exception {
    Path cache = home.resolve("cache");
    Map<String, String> environment = Map.of("XDG_CACHE_HOME", cache.toString());
    String plain = run(environment, "exec sh \"$0\"").out();
    assertThat(cache).doesNotExist();
    for (int i = 0; i < 2; i++) {
      Outcome outcome = run(environment, "exec sh \"$0\" search");
      assertThat(outcome.code()).isZero();
      assertThat(outcome.out()).isEqualTo("search false\n" + plain);
    }
    int version = Runtime.version().feature();
    assertThat(Files.exists(cache.resolve("llara/classes-" + version + ".jsa")))
        .isEqualTo(version >= 19);
  }
}
