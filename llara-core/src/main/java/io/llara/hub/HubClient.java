package io.llara.hub;

import io.llara.LlaraException;
import io.llara.ModelLoadException;
import io.llara.io.AtomicFiles;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.ProxySelector;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpConnectTimeoutException;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.HttpResponse.BodySubscriber;
import java.net.http.HttpResponse.BodySubscribers;
import java.net.http.HttpResponse.ResponseInfo;
import java.net.http.HttpTimeoutException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.LongConsumer;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Speaks the hub's protocol about one model. The token goes to the hub itself and nowhere else. */
final class HubClient {
  private static final Logger LOG = LoggerFactory.getLogger(HubClient.class);

  private static final String DEFAULT_ENDPOINT = "https://huggingface.co";
  private static final Duration PATIENCE = Duration.ofSeconds(30);
  private static final int ATTEMPTS = 5;
  private static final int MOST_REDIRECTS = 5;
  private static final int MOST_JSON_BYTES = 16 << 20;
  private static final int POLL_MILLISECONDS = 100;

  /** A file with LFS has the SHA-256 of its content as its tag, any other git's hash of a blob. */
  private static final Pattern ETAG = Pattern.compile("[0-9a-f]{40}|[0-9a-f]{64}");

  private static final Pattern TOKEN = Pattern.compile("[!-~]+");

  private final HttpClient http =
      HttpClient.newBuilder()
          .version(HttpClient.Version.HTTP_1_1)
          .followRedirects(HttpClient.Redirect.NEVER)
          .connectTimeout(PATIENCE)
          .proxy(ProxySelector.getDefault())
          .build();
  private final URI endpoint;
  private final Optional<String> token;
  private final String name;
  private final Duration retryDelay;

  /** The commit that a revision is at, and the paths of its files. */
  record Listing(String commit, List<String> files) {}

  /** What was answered, read and closed. */
  private record Answer(HttpResponse<?> response, String body) {}

  /**
   * A file to be downloaded.
   *
   * @param etag its hash, in hexadecimal digits
   */
  record Remote(URI uri, String etag, long size) {}

  /** Creates one for a model of a name. */
  HubClient(Map<String, String> environment, String name, Duration retryDelay) {
    this.endpoint = endpoint(environment.getOrDefault("HF_ENDPOINT", ""));
    this.token = token(environment);
    this.name = name;
    this.retryDelay = retryDelay;
  }

  private static URI endpoint(String variable) {
    String address = variable.isBlank() ? DEFAULT_ENDPOINT : variable.strip().replaceAll("/+$", "");
    if (!address.matches("https?://[\\w.:\\[\\]-]+(/[\\w./-]*)?")) {
      throw new LlaraException(
          "HF_ENDPOINT is %s; expected an address such as %s"
              .formatted(Messages.quote(variable), DEFAULT_ENDPOINT));
    }
    return URI.create(address);
  }

  private static Optional<String> token(Map<String, String> environment) {
    String token = environment.getOrDefault("HF_TOKEN", "").strip();
    Path file = HubCache.home(environment).resolve("token");
    try {
      // Where Python's "hf auth login" leaves it.
      if (token.isEmpty() && Files.isRegularFile(file)) {
        token = Files.readString(file, StandardCharsets.UTF_8).strip();
      }
    } catch (IOException e) {
      throw new LlaraException(
          "%s: the token cannot be read: %s".formatted(file, Messages.reason(e)), e);
    }
    if (!token.isEmpty() && !TOKEN.matcher(token).matches()) {
      // Said here, because Java's own message would have the token in it.
      throw new LlaraException(
          "the token in HF_TOKEN or in %s has characters that no token has".formatted(file));
    }
    return Optional.of(token).filter(text -> !text.isEmpty());
  }

  String name() {
    return name;
  }

  /**
   * Lists the files of a revision.
   *
   * @throws IOException if the hub cannot be reached
   */
  Listing list(String revision) throws IOException, InterruptedException {
    String path = "/api/models/%s/revision/%s".formatted(name, encoded(revision));
    Answer answer = send("GET", URI.create(endpoint + path));
    if (answer.response().statusCode() != 200) {
      throw refused(answer.response(), "revision " + Messages.quote(revision));
    }
    JsonSection json =
        StrictJson.modelText(answer.body(), "%s: the hub's list of its files".formatted(name));
    String commit = json.requiredString("sha");
    if (!HubCache.isCommit(commit)) {
      throw json.invalid("sha", Messages.quote(commit), "a commit of 40 hexadecimal digits");
    }
    List<JsonSection> files =
        json.sections("siblings").orElseThrow(() -> json.missing("siblings", "a list of files"));
    return new Listing(
        commit, files.stream().map(file -> file.requiredString("rfilename")).toList());
  }

  /**
   * Asks for the hash and the size of a file of a commit.
   *
   * @throws IOException if the hub cannot be reached
   */
  Remote find(String commit, String file) throws IOException, InterruptedException {
    String path = encoded(file).replace("%2F", "/");
    URI uri = URI.create("%s/%s/resolve/%s/%s".formatted(endpoint, name, commit, path));
    HttpResponse<?> response = send("HEAD", uri).response();
    Optional<String> linked = response.headers().firstValue("X-Linked-Etag");
    if (linked.isEmpty() && response.statusCode() != 200) {
      throw refused(response, "file " + Messages.quote(file));
    }
    String etag =
        linked
            .or(() -> response.headers().firstValue("ETag"))
            .orElse("")
            .replaceFirst("^W/", "")
            .replace("\"", "");
    long size =
        response
            .headers()
            .firstValueAsLong("X-Linked-Size")
            .orElseGet(() -> response.headers().firstValueAsLong("Content-Length").orElse(-1));
    if (!ETAG.matcher(etag).matches() || size < 0) {
      throw new ModelLoadException(
          "%s: the hub gives %s the hash %s and %d bytes; expected a SHA-256 or git's SHA-1, and its size"
              .formatted(name, file, Messages.quote(etag), size));
    }
    return new Remote(uri, etag, size);
  }

  private static String encoded(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20");
  }

  /** Sends a request without a body and tries again while the hub is busy. */
  private Answer send(String method, URI uri) throws IOException, InterruptedException {
    for (int failures = 1; ; failures++) {
      try {
        Answer answer = follow(method, uri);
        requireNotBusy(answer.response());
        return answer;
      } catch (ConnectException | HttpConnectTimeoutException e) {
        throw e;
      } catch (IOException e) {
        pause(failures, e);
      }
    }
  }

  /** Follows a model's new name, but not what leads away from the hub. */
  private Answer follow(String method, URI first) throws IOException, InterruptedException {
    URI uri = first;
    for (int i = 0; i < MOST_REDIRECTS; i++) {
      HttpRequest request =
          request(uri).method(method, HttpRequest.BodyPublishers.noBody()).build();
      Answer answer = ask(request);
      HttpResponse<?> response = answer.response();
      Optional<URI> next = redirect(response);
      if (next.isEmpty()
          || !isHub(next.get())
          || response.headers().firstValue("X-Linked-Etag").isPresent()) {
        return answer;
      }
      uri = next.get();
    }
    throw tooManyRedirects();
  }

  /** Sends a request and reads what is answered; a request's own time-out ends with the headers. */
  private Answer ask(HttpRequest request) throws IOException, InterruptedException {
    Future<Answer> future =
        start(
            () -> {
              HttpResponse<InputStream> response = http.send(request, BodyHandlers.ofInputStream());
              try (InputStream in = response.body()) {
                byte[] body = in.readNBytes(MOST_JSON_BYTES);
                return new Answer(response, new String(body, StandardCharsets.UTF_8));
              }
            });
    try {
      return future.get(2 * PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      throw new HttpTimeoutException("the answer did not end in time");
    } catch (ExecutionException e) {
      throw unwrapped(e);
    } finally {
      future.cancel(true);
    }
  }

  /**
   * Begins something on a thread of its own. The client's own futures complete on the common pool,
   * which those who wait for this download may have filled.
   */
  private static <T> Future<T> start(Callable<T> work) {
    FutureTask<T> task = new FutureTask<>(work);
    Thread thread = new Thread(task, "llara-hub");
    thread.setDaemon(true);
    thread.start();
    return task;
  }

  private static IOException unwrapped(ExecutionException e) {
    return e.getCause() instanceof IOException io ? io : new IOException(e.getCause());
  }

  private static IOException tooManyRedirects() {
    return new IOException("it was redirected more than %d times".formatted(MOST_REDIRECTS));
  }

  private HttpRequest.Builder request(URI uri) {
    HttpRequest.Builder request = HttpRequest.newBuilder(uri).timeout(PATIENCE);
    request.header("User-Agent", "llara");
    if (isHub(uri)) {
      token.ifPresent(secret -> request.header("Authorization", "Bearer " + secret));
    }
    return request;
  }

  private boolean isHub(URI uri) {
    return uri.getScheme().equalsIgnoreCase(endpoint.getScheme())
        && String.valueOf(uri.getHost()).equalsIgnoreCase(endpoint.getHost())
        && uri.getPort() == endpoint.getPort();
  }

  private static Optional<URI> redirect(HttpResponse<?> response) throws IOException {
    if (response.statusCode() / 100 != 3) {
      return Optional.empty();
    }
    String location = response.headers().firstValue("Location").orElse("");
    try {
      URI next = response.uri().resolve(location);
      if (!location.isEmpty()
          && next.getHost() != null
          && String.valueOf(next.getScheme()).matches("(?i)https?")) {
        return Optional.of(next);
      }
    } catch (IllegalArgumentException e) {
      // Not an address: reported below.
    }
    throw new IOException("it was redirected to no address");
  }

  private static void requireNotBusy(HttpResponse<?> response) throws IOException {
    int status = response.statusCode();
    if (status == 429 || status / 100 == 5) {
      throw new IOException("%s answers %d".formatted(response.uri().getHost(), status));
    }
  }

  /** Waits before the next attempt, if there is one. */
  private void pause(int failures, IOException e) throws IOException, InterruptedException {
    if (failures >= ATTEMPTS) {
      throw e;
    }
    LOG.debug("{}: {}; attempt {} follows", name, reason(e), failures + 1);
    Thread.sleep(retryDelay.multipliedBy(failures).toMillis());
  }

  private ModelLoadException refused(HttpResponse<?> response, String wanted) {
    int status = response.statusCode();
    String why =
        switch (response.headers().firstValue("X-Error-Code").orElse("")) {
          case "RevisionNotFound", "EntryNotFound" -> "it has no " + wanted;
          case "GatedRepo" ->
              "its owner gives access on its page to those who ask; " + tokenAdvice();
          default ->
              switch (status) {
                case 401, 403 -> "there is no such model, or it is private; " + tokenAdvice();
                case 404 -> "there is no such model";
                default -> "expected 200";
              };
        };
    return new ModelLoadException(
        "%s: %s answers %d: %s".formatted(name, response.uri().getHost(), status, why));
  }

  private String tokenAdvice() {
    return token.isPresent()
        ? "the token of HF_TOKEN does not give access"
        : "set HF_TOKEN to a token that has access";
  }

  /**
   * Downloads a file, going on where an earlier attempt or an earlier process ended, and gives it
   * its name if its hash is right.
   *
   * @param progress takes the bytes that are here
   * @throws ModelLoadException if it is not what its hash says; nothing is left then
   */
  void download(Remote remote, Path blob, LongConsumer progress)
      throws IOException, InterruptedException {
    Path part = blob.resolveSibling(blob.getFileName() + ".incomplete");
    if (Files.notExists(part)) {
      Files.createFile(part);
    }
    int failures = 0;
    for (long have = Files.size(part); have < remote.size(); ) {
      IOException failure = null;
      try {
        receive(remote, part, have, progress);
      } catch (IOException e) {
        failure = e;
      }
      long now = Files.size(part);
      if (now < remote.size()) {
        failures = now > have ? 1 : failures + 1;
        pause(failures, failure != null ? failure : new IOException("the answer ended too early"));
      }
      have = now;
    }
    String hash = hash(part, remote);
    if (!hash.equals(remote.etag())) {
      Files.delete(part);
      throw new ModelLoadException(
          "%s: %s is damaged: its hash is %s; expected %s"
              .formatted(name, remote.uri().getPath(), hash, remote.etag()));
    }
    try (FileChannel channel = FileChannel.open(part, StandardOpenOption.WRITE)) {
      channel.force(true);
    }
    Files.move(part, blob, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    AtomicFiles.forceFolder(blob.resolveSibling(""));
  }

  /** Appends what follows the first bytes of a file. */
  private void receive(Remote remote, Path part, long have, LongConsumer progress)
      throws IOException, InterruptedException {
    URI uri = remote.uri();
    for (int i = 0; i < MOST_REDIRECTS; i++) {
      HttpRequest.Builder request = request(uri).GET();
      if (have > 0) {
        request.header("Range", "bytes=" + have + "-"); // Its digits are those of no locale.
      }
      Future<HttpResponse<Path>> future =
          start(() -> http.send(request.build(), info -> subscriber(info, part, have)));
      HttpResponse<Path> response;
      try {
        response = await(future, part, remote.size(), progress);
      } finally {
        future.cancel(true);
      }
      requireNotBusy(response);
      Optional<URI> next = redirect(response);
      if (next.isEmpty()) {
        if (response.statusCode() / 100 != 2) {
          throw refused(response, "file " + Messages.quote(remote.uri().getPath()));
        }
        return;
      }
      uri = next.get();
    }
    throw tooManyRedirects();
  }

  private static BodySubscriber<Path> subscriber(ResponseInfo info, Path part, long have) {
    String range = info.headers().firstValue("Content-Range").orElse("");
    if (info.statusCode() == 206 && range.startsWith("bytes " + have + "-")) {
      return BodySubscribers.ofFile(part, StandardOpenOption.WRITE, StandardOpenOption.APPEND);
    }
    // A server without ranges sends all of it once more.
    return info.statusCode() == 200
        ? BodySubscribers.ofFile(
            part, StandardOpenOption.WRITE, StandardOpenOption.TRUNCATE_EXISTING)
        : BodySubscribers.replacing(part);
  }

  /** Waits for a body, which may take long as long as something comes. */
  private static <T> T await(Future<T> future, Path part, long expected, LongConsumer progress)
      throws IOException, InterruptedException {
    long seen = -1;
    long since = System.nanoTime();
    while (true) {
      try {
        return future.get(POLL_MILLISECONDS, TimeUnit.MILLISECONDS);
      } catch (TimeoutException e) {
        long now = Files.size(part);
        if (now > expected) {
          Files.write(part, new byte[0]);
          throw new IOException("more than its %d bytes were sent".formatted(expected));
        }
        if (now != seen) {
          seen = now;
          since = System.nanoTime();
          progress.accept(now);
        } else if (System.nanoTime() - since > PATIENCE.toNanos()) {
          throw new HttpTimeoutException("nothing came for %d s".formatted(PATIENCE.toSeconds()));
        }
      } catch (ExecutionException e) {
        throw unwrapped(e);
      }
    }
  }

  private static String hash(Path file, Remote remote) throws IOException {
    boolean lfs = remote.etag().length() == 64;
    try (InputStream in = Files.newInputStream(file)) {
      MessageDigest digest = MessageDigest.getInstance(lfs ? "SHA-256" : "SHA-1");
      if (!lfs) {
        digest.update(("blob " + Files.size(file) + "\0").getBytes(StandardCharsets.UTF_8));
      }
      byte[] buffer = new byte[1 << 20];
      for (int read = in.read(buffer); read >= 0; read = in.read(buffer)) {
        digest.update(buffer, 0, read);
      }
      return HexFormat.of().formatHex(digest.digest());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e); // Every JDK has both.
    }
  }

  /** Returns why the hub could not be reached. */
  static String reason(IOException e) {
    if (e instanceof ConnectException) {
      return "no connection";
    }
    return e instanceof HttpTimeoutException ? "no answer in time" : Messages.reason(e);
  }
}
