package io.llara.server;

import static java.util.Objects.requireNonNull;

import com.google.common.net.InetAddresses;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.io.Messages;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.retrieval.SearchListener;
import java.io.IOException;
import java.net.InetAddress;
import java.net.URI;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.NetworkConnectionLimit;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.handler.ErrorHandler;
import org.eclipse.jetty.util.VirtualThreads;
import org.eclipse.jetty.util.thread.QueuedThreadPool;
import org.jspecify.annotations.Nullable;

/**
 * Serves an encoder over HTTP, to clients of OpenAI's embeddings API and of
 * text-embeddings-inference; with a collection, search and a page to search on as well.
 *
 * <pre>{@code
 * try (Encoder encoder = Encoder.loadDefault();
 *     LlaraServer server = LlaraServer.builder(encoder).port(8080).start()) {
 *   System.out.println(server.address());
 *   Thread.currentThread().join();
 * }
 * }</pre>
 *
 * <p>Texts of different requests share batches. No thread waits for an embedding; requests run on
 * virtual threads where Java has them. What is over a limit of {@link ServerLimits} is refused.
 *
 * <p>Thread-safe. {@link #close} lets the requests that have come be answered.
 */
public final class LlaraServer implements AutoCloseable {
  /** How long threads may take to end once all requests are answered. */
  private static final long STOP_MILLISECONDS = 200;

  private static final long WATCH_MILLISECONDS = 100;

  private static final int LONGEST_HEADERS = 8 << 10;

  private final Server server;
  private final ServerConnector connector;
  private final Api api;
  private final Connections connections;
  private URI address = URI.create("");
  private @Nullable CorpusSearch search;

  /** Makes the search of a collection, once all settings are known. */
  private interface Opening {
    CorpusSearch open();
  }

  private LlaraServer(Builder builder) {
    ServerLimits limits = builder.limits;
    QueuedThreadPool threads = new QueuedThreadPool();
    threads.setName("llara-server");
    threads.setStopTimeout(STOP_MILLISECONDS);
    if (VirtualThreads.areSupported()) {
      threads.setVirtualThreadsExecutor(VirtualThreads.getDefaultVirtualThreadsExecutor());
    }
    this.server = new Server(threads);
    this.connections = new Connections(limits.patience());
    this.api = new Api(builder.settings(), connections);
    HttpConfiguration http = new HttpConfiguration();
    http.setSendServerVersion(false);
    http.setRequestHeaderSize(LONGEST_HEADERS);
    this.connector = new ServerConnector(server, new HttpConnectionFactory(http));
    connector.setHost(builder.host);
    connector.setPort(builder.port);
    connector.setIdleTimeout(limits.patience().toMillis());
    connector.addBean(connections);
    server.addConnector(connector);
    server.addBean(new NetworkConnectionLimit(limits.connections(), server));
    ErrorHandler errors = new ErrorHandler();
    errors.setShowStacks(false);
    server.setErrorHandler(errors);
    server.setHandler(api);
    try {
      server.start();
      address = bound();
      watch();
    } catch (Exception e) {
      close();
      throw new LlaraException(
          "%s port %d cannot be listened on: %s".formatted(builder.host, builder.port, reason(e)),
          e);
    }
    // Last, as it may take hours: until then searches are answered 503.
    if (builder.opening != null) {
      try {
        search = builder.opening.open();
      } catch (RuntimeException | Error e) {
        close();
        throw e;
      }
      api.opened(search);
    }
  }

  private static String reason(Exception e) {
    Throwable cause = e.getCause() == null ? e : e.getCause();
    return cause instanceof IOException io ? Messages.reason(io) : String.valueOf(e.getMessage());
  }

  private void watch() {
    server
        .getScheduler()
        .schedule(
            () -> {
              connections.closeLate();
              watch();
            },
            WATCH_MILLISECONDS,
            TimeUnit.MILLISECONDS);
  }

  /**
   * Returns a builder of servers.
   *
   * @param encoder embeds; the caller closes it, after the server
   */
  public static Builder builder(Encoder encoder) {
    return new Builder(requireNonNull(encoder, "encoder"));
  }

  /** Returns where it listens, such as {@code http://127.0.0.1:8080}. */
  public URI address() {
    return address;
  }

  private URI bound() {
    String host = connector.getHost();
    return URI.create(
        "http://"
            + (InetAddresses.isInetAddress(host)
                ? InetAddresses.toUriString(InetAddresses.forString(host))
                : host)
            + ":"
            + connector.getLocalPort());
  }

  /**
   * Stops. It listens no more, answers the requests that have come and those that come over open
   * connections meanwhile, telling clients that these end, and waits until all are closed, at most
   * for the patience of the limits. Harmless when repeated.
   */
  @Override
  public void close() {
    api.drain();
    connector.close();
    try {
      connections.drain();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt(); // Then what is left is cut off.
    }
    try {
      server.stop();
    } catch (Exception e) {
      throw new LlaraException("the server did not stop: " + e.getMessage(), e);
    } finally {
      if (search != null) {
        search.close();
      }
    }
  }

  /** Collects the settings of a server. Not thread-safe. */
  public static final class Builder {
    private final Encoder encoder;
    private String host = "127.0.0.1";
    private int port = 8080;
    private String model = "llara";
    private boolean truncates;
    private Optional<String> apiKey = Optional.empty();
    private ServerLimits limits = ServerLimits.DEFAULT;
    private @Nullable Opening opening;

    private Builder(Encoder encoder) {
      this.encoder = encoder;
    }

    /** Sets the address to listen on; 127.0.0.1, which other machines do not reach, by default. */
    public Builder host(String host) {
      this.host = requireNonNull(host, "host");
      return this;
    }

    /** Sets the port to listen on; 8080 by default, 0 for any that is free. */
    public Builder port(int port) {
      if (port < 0 || port > 65_535) {
        throw new IllegalArgumentException("the port is " + port + "; expected 0 to 65535");
      }
      this.port = port;
      return this;
    }

    /** Sets what answers call the model; "llara" by default. */
    public Builder model(String name) {
      this.model = requireNonNull(name, "name");
      return this;
    }

    /**
     * Sets whether texts that do not fit are cut unless a request says otherwise; by default they
     * are refused.
     */
    public Builder truncate(boolean truncates) {
      this.truncates = truncates;
      return this;
    }

    /** Sets the key that requests must bring as a bearer token; by default none is needed. */
    public Builder apiKey(String key) {
      if (key.isBlank()) {
        throw new IllegalArgumentException("the key is blank");
      }
      this.apiKey = Optional.of(key);
      return this;
    }

    /** Sets how much the server takes on; {@link ServerLimits#DEFAULT} by default. */
    public Builder limits(ServerLimits limits) {
      this.limits = requireNonNull(limits, "limits");
      return this;
    }

    /**
     * Serves search over a collection, and a page for it, too. Documents lie in memory.
     *
     * @param search how its passages are embedded, and where their vectors are cached
     */
    public Builder corpus(Corpus corpus, EmbeddingSearch search, SearchListener listener) {
      this.opening = () -> CorpusSearch.open(corpus, search, listener);
      return this;
    }

    private Api.Settings settings() {
      return new Api.Settings(
          encoder, model, truncates, apiKey, limits, opening != null, loopback());
    }

    private Optional<String> loopback() {
      try {
        boolean loopback = InetAddress.getByName(host).isLoopbackAddress();
        return loopback ? Optional.of(host) : Optional.empty();
      } catch (IOException e) {
        return Optional.empty();
      }
    }

    /**
     * Starts a server, which listens at once; with a collection returns when this is encoded, until
     * when {@code /search} and {@code /health} are answered 503.
     *
     * @throws LlaraException if the address cannot be listened on, or the collection cannot be read
     */
    public LlaraServer start() {
      return new LlaraServer(this);
    }
  }
}
