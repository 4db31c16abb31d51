package io.llara.examples;

import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.io.Messages;
import io.llara.retrieval.Corpus;
import io.llara.server.LlaraServer;
import io.llara.server.ServerLimits;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Embeddings, and search, over HTTP. */
@Command(
    name = "serve",
    description = {
      "Serves embeddings to clients of OpenAI (/v1/embeddings) and of text-embeddings-inference"
          + " (/embed), and, with a collection, search (/search) and a page for it (/).",
      "",
      "Prints the address once it answers. SIGTERM and Ctrl-C let the requests that have come be"
          + " answered.",
      ""
    })
final class ServeCommand extends Subcommand {
  private static final String KEY_VARIABLE = "LLARA_API_KEY";

  @Mixin private RetrievalOptions options = new RetrievalOptions();
  @Mixin private ProgressOptions progress = new ProgressOptions();

  @Option(
      names = "--host",
      paramLabel = "ADDRESS",
      defaultValue = "127.0.0.1",
      description =
          "The address to listen on (default: ${DEFAULT-VALUE}, which other machines do not"
              + " reach).")
  private String host = "127.0.0.1";

  @Option(
      names = "--port",
      paramLabel = "N",
      defaultValue = "8080",
      description = "The port to listen on; 0 for any that is free (default: ${DEFAULT-VALUE}).")
  private int port = 8080;

  @Option(
      names = "--api-key-file",
      paramLabel = "FILE",
      description =
          "A file with the key that requests must bring as a bearer token (default: the environment"
              + " variable LLARA_API_KEY; without either no key is asked for).")
  private Optional<Path> keyFile = Optional.empty();

  @Option(
      names = "--truncate",
      description = "Cut texts that do not fit; by default they are refused.")
  private boolean truncate;

  @Option(
      names = "--queue-tokens",
      paramLabel = "N",
      defaultValue = "65536",
      description =
          "How many tokens may wait; requests over that are answered 429 (default:"
              + " ${DEFAULT-VALUE}).")
  private long queueTokens = 65536;

  @Option(
      names = "--corpus",
      paramLabel = "FILE",
      description = "A collection to search, as for llara search.")
  private Optional<Path> corpus = Optional.empty();

  @Override
  public Integer call() {
    if (queueTokens < 1) {
      throw usageError("--queue-tokens is %d; expected 1 or more".formatted(queueTokens));
    }
    if (port < 0 || port > 65535) {
      throw usageError("--port is %d; expected 0 to 65535".formatted(port));
    }
    Optional<String> key = key();
    CountDownLatch wanted = new CountDownLatch(1);
    try (CleanStop stop = new CleanStop(streams(), wanted::countDown);
        ProgressOptions.Bar bar = progress.bar(streams());
        Encoder encoder = options.encoder().progress(bar).normalize(true).build();
        LlaraServer server = start(encoder, key, bar)) {
      bar.close();
      streams().result(server.address().toString());
      wanted.await();
      stop.done();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return Llara.OK;
  }

  private LlaraServer start(Encoder encoder, Optional<String> key, ProgressOptions.Bar bar) {
    LlaraServer.Builder builder =
        LlaraServer.builder(encoder)
            .host(host)
            .port(port)
            .model(options.modelName())
            .truncate(truncate)
            .limits(ServerLimits.DEFAULT.withQueuedTokens(queueTokens));
    key.ifPresent(builder::apiKey);
    corpus.ifPresent(file -> builder.corpus(Corpus.of(file), options.search(encoder), bar));
    return builder.start();
  }

  private Optional<String> key() {
    if (keyFile.isEmpty()) {
      return Optional.ofNullable(System.getenv(KEY_VARIABLE)).filter(key -> !key.isBlank());
    }
    try {
      String key = Files.readString(keyFile.get()).strip();
      if (key.isEmpty()) {
        throw new LlaraException(keyFile.get() + ": has no key");
      }
      return Optional.of(key);
    } catch (IOException e) {
      throw new LlaraException(
          "%s: the key cannot be read: %s".formatted(keyFile.get(), Messages.reason(e)), e);
    }
  }
}
