package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import dotty.tools.dotc.reporting.Reporter;
import io.llara.testing.Stories;
import java.io.File;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.jetbrains.kotlin.cli.common.ExitCode;
import org.jetbrains.kotlin.cli.jvm.K2JVMCompiler;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import scala.Console;

/** The programs in other languages compile, and print what the one in Java prints. */
class LanguagesTest {
  /** Without the POMs that Maven puts there, at which compilers stumble. */
  private static final String CLASS_PATH =
      System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"))
          .transform(path -> Arrays.stream(path.split(File.pathSeparator)))
          .filter(entry -> entry.endsWith(".jar") || Files.isDirectory(Path.of(entry)))
          .collect(Collectors.joining(File.pathSeparator));

  @TempDir private Path classes;

  @Test
  void kotlin() throws Exception {
    ExitCode code =
        new K2JVMCompiler()
            .exec(
                System.err,
                "src/languages/kotlin/QuickStart.kt",
                "-Werror",
                "-no-stdlib",
                "-no-reflect",
                "-classpath",
                CLASS_PATH,
                "-d",
                classes.toString());
    assertThat(code).isEqualTo(ExitCode.OK);
    runs("io.llara.examples.kotlin.QuickStartKt", Runnable::run);
  }

  @Test
  void scala() throws Exception {
    Reporter report =
        dotty.tools.dotc.Main.process(
            new String[] {
              "src/languages/scala/QuickStart.scala",
              "-Werror",
              "-classpath",
              CLASS_PATH,
              "-d",
              classes.toString()
            });
    assertThat(report.hasErrors()).isFalse();
    // Scala keeps the standard output of when it was loaded, here with the compiler.
    runs(
        "io.llara.examples.scala.QuickStart",
        program ->
            Console.withOut(
                System.out,
                () -> {
                  program.run();
                  return null;
                }));
  }

  private void runs(String program, Consumer<Runnable> how) throws Exception {
    try (URLClassLoader loader = new URLClassLoader(new URL[] {classes.toUri().toURL()})) {
      var main = loader.loadClass(program).getMethod("main", String[].class);
      String model = Stories.dir().toString();
      List<String> lines =
          ProgramsTest.run(args -> how.accept(() -> ProgramsTest.invoke(main, args)), model);
      assertThat(lines)
          .isEqualTo(ProgramsTest.run(QuickStart::main, model).subList(0, 2))
          .allMatch(line -> line.matches("-?\\d\\.\\d{4}  .+"));
    }
  }
}
