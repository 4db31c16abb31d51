package io.llara.examples;

import com.google.common.base.Throwables;
import io.llara.LlaraException;
import io.llara.io.Messages;
import io.llara.train.TrainingException;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.logging.Level;
import java.util.logging.Logger;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;
import picocli.CommandLine.UnmatchedArgumentException;

/**
 * The launcher: {@code llara encode | encode-corpus | merge-vectors | search | serve | verify |
 * import | init | add-markers | merge | shrink | quantize | collect | pairs | pretrain | finetune |
 * mine | teach | evaluate | doctor}.
 *
 * <p>Exit codes: 0 ok, 1 a check or a training run failed, 2 bad usage or input, reported in one
 * line on standard error.
 */
@Command(
    name = "llara",
    description = "Text embedding and retrieval with LLaRA / Llama2Vec models.",
    mixinStandardHelpOptions = true,
    scope = ScopeType.INHERIT,
    subcommands = {
      EncodeCommand.class,
      EncodeCorpusCommand.class,
      MergeVectorsCommand.class,
      SearchCommand.class,
      ServeCommand.class,
      VerifyCommand.class,
      ImportCommand.class,
      InitCommand.class,
      AddMarkersCommand.class,
      MergeCommand.class,
      ConvertCommand.class,
      ShrinkCommand.class,
      QuantizeCommand.class,
      RotateCommand.class,
      CollectCommand.class,
      PairsCommand.class,
      PretrainCommand.class,
      TeachCommand.class,
      FinetuneCommand.class,
      MineCommand.class,
      EvaluateCommand.class,
      DoctorCommand.class
    },
    versionProvider = Llara.Version.class,
    synopsisSubcommandLabel = "COMMAND",
    usageHelpAutoWidth = true,
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {"0:ok", "1:a check or a training run failed", "2:bad usage or input"})
public final class Llara implements Runnable {
  static final int OK = 0;
  static final int CHECK_FAILED = 1;
  static final int BAD_INPUT = 2;

  private static final String STACKTRACE = "--stacktrace";

  /** Kept, because a logger that nothing refers to forgets its level. */
  private static final Logger LUCENE = Logger.getLogger("org.apache.lucene");

  private static final Logger JNA = Logger.getLogger("com.sun.jna");

  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = STACKTRACE,
      scope = ScopeType.INHERIT,
      description = "Show the stack trace of an error.")
  private boolean stacktrace;

  private final Streams streams;

  private Llara(Streams streams) {
    this.streams = streams;
  }

  Streams streams() {
    return streams;
  }

  /** Runs the command given by the arguments and exits with its exit code. */
  public static void main(String[] args) {
    PrintStream err =
        new PrintStream(new FileOutputStream(FileDescriptor.err), true, StandardCharsets.UTF_8);
    // Loggers write there; the platform's own stream may not know UTF-8.
    System.setErr(err);
    // Lucene warns about the Java version's vector instructions, which a user cannot act on.
    LUCENE.setLevel(Level.SEVERE);
    // JNA prints a trace where nothing is writable; what follows from that is reported in words.
    JNA.setLevel(Level.OFF);
    Streams streams =
        new Streams(
            // The number of a descriptor that is closed goes to the next file that Java opens.
            Boolean.getBoolean("llara.stdin.closed")
                ? closed()
                : new FileInputStream(FileDescriptor.in),
            new FileOutputStream(FileDescriptor.out),
            err,
            Boolean.getBoolean("llara.stderr.terminal"));
    System.exit(run(streams, args));
  }

  private static Path path(String name) {
    try {
      return Path.of(name);
    } catch (InvalidPathException e) {
      throw new TypeConversionException(
          "'%s' is not the name of a file: %s".formatted(name, e.getReason()));
    }
  }

  private static InputStream closed() {
    return new InputStream() {
      @Override
      public int read() throws IOException {
        throw new IOException("it is closed");
      }
    };
  }

  /** Runs a command and returns its exit code. */
  static int run(Streams streams, String... args) {
    CommandLine line = new CommandLine(new Llara(streams));
    line.setCaseInsensitiveEnumValuesAllowed(true);
    line.registerConverter(Path.class, Llara::path);
    // A query may begin with an @.
    line.setExpandAtFiles(false);
    // Only help and versions: a writer would keep to itself what goes wrong.
    StringWriter help = new StringWriter();
    line.setOut(new PrintWriter(help));
    line.setErr(new PrintWriter(streams.err(), true));
    line.setParameterExceptionHandler(
        (e, arguments) -> {
          // Parsing ended early: the field may not be set.
          boolean trace = Arrays.asList(arguments).contains(STACKTRACE);
          CommandLine command = e.getCommandLine();
          if (e instanceof UnmatchedArgumentException unmatched && command == line) {
            return refuse(streams, line, unknownCommand(line, unmatched), trace);
          }
          return refuse(streams, command, e, trace);
        });
    line.setExecutionExceptionHandler(
        (e, command, parsed) -> refuse(streams, command, e, stacktrace(line)));
    try {
      int code = line.execute(args);
      try (Results results = new Results(streams.out())) {
        results.bytes(help.toString().getBytes(StandardCharsets.UTF_8));
      }
      return code;
    } catch (LlaraException | Error e) {
      // Help that cannot be printed, out of memory, or native libraries that do not load.
      return refuse(streams, line, e, stacktrace(line));
    }
  }

  private static ParameterException unknownCommand(
      CommandLine line, UnmatchedArgumentException unmatched) {
    return new ParameterException(
        line,
        "unknown command or option %s; commands are %s (see llara --help)"
            .formatted(
                String.join(" ", unmatched.getUnmatched()),
                String.join(", ", line.getSubcommands().keySet())),
        unmatched);
  }

  private static boolean stacktrace(CommandLine line) {
    return ((Llara) line.getCommand()).stacktrace;
  }

  private static int refuse(Streams streams, CommandLine command, Throwable e, boolean trace) {
    String message = message(e);
    streams
        .err()
        .println(
            command.getCommandSpec().qualifiedName()
                + ": "
                + message.strip().replaceAll("\\s*\\R\\s*", "; "));
    if (trace) {
      e.printStackTrace(streams.err());
    }
    return e instanceof TrainingException ? CHECK_FAILED : BAD_INPUT;
  }

  private static String message(Throwable e) {
    for (Throwable cause : Throwables.getCausalChain(e)) {
      if (cause instanceof InvalidPathException path) {
        return "%s is not the name of a file: %s".formatted(path.getInput(), path.getReason());
      }
      if (cause instanceof OutOfMemoryError) {
        return "out of memory (%s): the Java heap has %d MiB; give it more, as in"
                .formatted(cause.getMessage(), Runtime.getRuntime().maxMemory() >> 20)
            + " LLARA_JVM_OPTS=-Xmx4g, or compute less at once (--batch-tokens, --batch)";
      }
    }
    if (e instanceof FileSystemException file && file.getFile() != null) {
      return file.getFile() + ": " + Messages.reason(file);
    }
    if (e instanceof IOException io) {
      return Messages.reason(io);
    }
    return e.getMessage() == null ? "failed; --stacktrace shows where" : e.getMessage();
  }

  @Override
  public void run() {
    throw new ParameterException(
        spec.commandLine(),
        "a command is missing; commands are "
            + String.join(", ", spec.subcommands().keySet())
            + " (see llara --help)");
  }

  /** Gives the version that the build wrote into the jar. */
  static final class Version implements IVersionProvider {
    static String number() {
      String version = Llara.class.getPackage().getImplementationVersion();
      return version == null ? "development" : version;
    }

    @Override
    public String[] getVersion() {
      return new String[] {"llara " + number()};
    }
  }
}
