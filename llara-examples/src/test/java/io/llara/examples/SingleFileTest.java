package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The program in a single file, whose dependencies jbang reads from its comments. */
class SingleFileTest {
  private static final Path SOURCE = Path.of("jbang/FirstSearch.java");
  private static final String CLASS_PATH =
      System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));

  @TempDir private Path temporary;

  @Test
  void findsALine() throws Exception {
    String[] options = {"-cp", CLASS_PATH, "-d", temporary.toString(), SOURCE.toString()};
    assertThat(ToolProvider.getSystemJavaCompiler().run(null, null, null, options)).isZero();
    Path file =
        Files.writeString(
            temporary.resolve("lines.txt"),
            """
            Bread rises because yeast makes gas in the dough.

            The llama is a domesticated South American camelid.
            A lighthouse warns ships of rocks and shallows.
            """);
    try (URLClassLoader loader = new URLClassLoader(new URL[] {temporary.toUri().toURL()})) {
      Method main = loader.loadClass("FirstSearch").getDeclaredMethod("main", String[].class);
      main.setAccessible(true);
      List<String> lines =
          ProgramsTest.run(
              args -> ProgramsTest.invoke(main, args), file.toString(), "What is a llama?");
      assertThat(lines).hasSize(3);
      assertThat(lines.get(0)).matches("0\\.\\d{4}  The llama is .*");
    }
  }

  @Test
  void itsDependenciesAreThoseOfTheBuild() throws Exception {
    Matcher natives =
        Pattern.compile("(?m)^//DEPS org[.]bytedeco:([^:]+):([^:]+):linux-x86_64$")
            .matcher(Files.readString(SOURCE));
    assertThat(natives.results())
        .extracting(found -> found.group(1) + "-" + found.group(2) + ".jar")
        .hasSize(3)
        .allSatisfy(jar -> assertThat(CLASS_PATH).contains(jar));
  }
}
