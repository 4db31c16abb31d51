package io.llara.benchmarks;

import com.google.gson.Gson;
import io.llara.checkpoint.LlamaConfig;
import io.llara.io.TemporaryPath;
import java.io.BufferedReader;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Python processes that hold a model of the same shape and run it when told. */
final class Peers implements AutoCloseable {
  private final TemporaryPath folder = TemporaryPath.folder("llara-peers");
  private final List<Peer> peers = new ArrayList<>();

  Peers(GpuCheckOptions options, LlamaConfig config) throws IOException {
    Files.writeString(
        folder.path().resolve("config.json"), RandomCheckpoint.json(config).toString());
    for (String side : options.peers()) {
      String[] parts = side.split(":", -1);
      if (parts.length != 3) {
        throw new IllegalArgumentException(
            "peer is \"" + side + "\"; expected PYTHON:SCRIPT:ATTENTION");
      }
      List<String> command =
          List.of(
              parts[0],
              parts[1],
              folder.path().toString(),
              options.device(),
              Types.name(options.type()),
              parts[2]);
      try {
        peers.add(new Peer(parts[2], command));
      } catch (EOFException e) {
        System.err.println("GpuCheck: without " + side + ", which did not start");
      }
    }
  }

  /** Returns those that started. */
  List<Peer> all() {
    return peers;
  }

  @Override
  public void close() {
    peers.forEach(peer -> peer.process.destroy());
    folder.close();
  }

  /** One of them. */
  static final class Peer {
    private final String name;
    private final Process process;
    private final BufferedReader answers;
    private final Writer requests;

    Peer(String name, List<String> command) throws IOException {
      this.name = name;
      process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
      answers =
          new BufferedReader(
              new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
      requests = process.outputWriter(StandardCharsets.UTF_8);
      System.err.println("GpuCheck: " + answer());
    }

    String name() {
      return name;
    }

    /** Runs batches of random ids, one after the other, and returns the seconds of each. */
    List<Double> seconds(int batch, int length, int repeats) {
      try {
        requests.write("%d %d %d%n".formatted(batch, length, repeats));
        requests.flush();
        return Arrays.stream(new Gson().fromJson(answer(), double[].class)).boxed().toList();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    private String answer() throws IOException {
      String line = answers.readLine();
      if (line == null) {
        throw new EOFException("transformers, " + name + ", ended");
      }
      return line;
    }
  }
}
