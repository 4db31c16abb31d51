package io.llara.hub;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import com.google.common.hash.Hashing;
import io.llara.LlaraException;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.testing.Stories;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class HubTest {
  private static final String WEIGHTS = "model.safetensors";
  private static final String TOKEN = "hf_aVerySecretToken";
  private static final HubId ID = new HubId("org/name", "main");

  @TempDir private Path dir;
  private final Map<String, String> environment = new HashMap<>();
  private FakeHub server;

  @BeforeEach
  void start() throws IOException {
    server = new FakeHub(ID.repository()).with(Stories.dir());
    server.files.put("README.md", new byte[10]);
    server.files.put("pytorch_model.bin", new byte[10]);
    environment.put("HF_ENDPOINT", server.endpoint());
    environment.put("HF_HUB_CACHE", dir.toString());
    environment.put("HF_TOKEN", TOKEN);
    environment.put("HF_HOME", dir.resolve("home").toString());
  }

  @AfterEach
  void stop() {
    server.close();
  }

  private Path snapshot(HubId id) {
    return new Hub(environment, Duration.ofMillis(1)).snapshot(id, (done, total) -> {});
  }

  private ModelLoadException refused(HubId id) {
    return assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> snapshot(id))
        .actual();
  }

  /** Returns all files of the cache but locks, by their paths in it. */
  private List<String> cached() throws IOException {
    try (Stream<Path> all = Files.walk(dir.resolve("models--org--name"))) {
      return all.filter(path -> !Files.isDirectory(path))
          .map(path -> dir.resolve("models--org--name").relativize(path).toString())
          .sorted()
          .toList();
    }
  }

  private static byte[] noise(int length) {
    byte[] bytes = new byte[length];
    new Random(1).nextBytes(bytes);
    return bytes;
  }

  @Test
  void laysTheCacheOutAsThePythonClientDoes() throws IOException {
    Path snapshot = snapshot(ID);
    Path model = dir.resolve("models--org--name");
    assertThat(snapshot).isEqualTo(model.resolve("snapshots").resolve(FakeHub.COMMIT));
    assertThat(model.resolve("refs/main")).hasContent(FakeHub.COMMIT);
    assertThat(snapshot.toFile().list())
        .containsExactlyInAnyOrder(
            "config.json",
            "llara.json",
            WEIGHTS,
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json");
    String sha256 = Hashing.sha256().hashBytes(server.files.get(WEIGHTS)).toString();
    assertThat(Files.readSymbolicLink(snapshot.resolve(WEIGHTS)))
        .isEqualTo(Path.of("..", "..", "blobs", sha256));
    assertThat(Files.readSymbolicLink(snapshot.resolve("config.json")).getFileName())
        .hasToString(FakeHub.gitHash(server.files.get("config.json")));
    for (String file : snapshot.toFile().list()) {
      assertThat(snapshot.resolve(file)).hasBinaryContent(server.files.get(file));
    }
    assertThat(dir.resolve(".locks/models--org--name/" + sha256 + ".lock")).exists();
    assertThat(cached()).noneMatch(name -> name.endsWith(".incomplete"));
  }

  @Test
  void downloadsWhatIsMissingOnly() throws IOException {
    Path snapshot = snapshot(ID);
    server.requests.clear();
    assertThat(snapshot(ID)).isEqualTo(snapshot);
    assertThat(server.requests).hasSize(1); // The commit of the branch.

    Files.delete(snapshot.resolve("config.json"));
    server.requests.clear();
    snapshot(ID);
    assertThat(server.requests)
        .extracting(FakeHub.Request::method)
        .containsExactly("GET", "HEAD"); // The blob is there.
  }

  @Test
  void takesTheSameFileOfAnotherCommitFromTheCache() {
    snapshot(ID);
    server.commit = "f".repeat(40);
    server.files.put("llara.json", noise(20));
    server.requests.clear();
    Path second = snapshot(new HubId(ID.repository(), "v1"));
    assertThat(second).endsWith(Path.of("f".repeat(40)));
    assertThat(server.storageRequests()).isEmpty();
    assertThat(server.requests)
        .filteredOn(request -> request.method().equals("GET"))
        .extracting(FakeHub.Request::path)
        .containsExactly(
            "/api/models/org/name/revision/v1",
            "/org/name/resolve/" + "f".repeat(40) + "/llara.json");
  }

  @Test
  void sendsTheTokenToTheHubAlone() {
    snapshot(ID);
    assertThat(server.requests)
        .filteredOn(FakeHub.Request::atHub)
        .isNotEmpty()
        .allSatisfy(request -> assertThat(request.token()).contains("Bearer " + TOKEN));
    assertThat(server.storageRequests())
        .isNotEmpty()
        .allSatisfy(request -> assertThat(request.token()).isEmpty());
  }

  @Test
  void takesTheTokenThatPythonsClientKeeps() throws IOException {
    environment.remove("HF_TOKEN");
    Files.createDirectories(dir.resolve("home"));
    Files.writeString(dir.resolve("home/token"), "hf_kept\n");
    snapshot(ID);
    assertThat(server.requests.get(0).token()).contains("Bearer hf_kept");
  }

  @Test
  void goesOnWhereTheConnectionWasCut() {
    byte[] weights = noise(100_000);
    server.files.put(WEIGHTS, weights);
    server.cuts = 10;
    server.cutAfter = 9_000;
    List<Long> progress = new ArrayList<>();
    Path snapshot =
        new Hub(environment, Duration.ofMillis(1))
            .snapshot(ID, (done, total) -> progress.add(total));
    assertThat(snapshot.resolve(WEIGHTS)).hasBinaryContent(weights);
    assertThat(server.storageRequests())
        .extracting(FakeHub.Request::range)
        .containsExactlyElementsOf(
            IntStream.rangeClosed(0, 10)
                .mapToObj(
                    i ->
                        i == 0
                            ? Optional.<String>empty()
                            : Optional.of("bytes=%d-".formatted(9_000 * i)))
                .toList());
    assertThat(progress).isNotEmpty().containsOnly(100_000L);
  }

  @Test
  void goesOnWhereAnotherProcessEnded() throws IOException {
    byte[] weights = server.files.get(WEIGHTS);
    Path blobs = Files.createDirectories(dir.resolve("models--org--name/blobs"));
    Path part = blobs.resolve(Hashing.sha256().hashBytes(weights) + ".incomplete");
    Files.write(part, java.util.Arrays.copyOf(weights, 1000));
    Path snapshot = snapshot(ID);
    assertThat(snapshot.resolve(WEIGHTS)).hasBinaryContent(weights);
    assertThat(server.storageRequests())
        .singleElement()
        .satisfies(request -> assertThat(request.range()).contains("bytes=1000-"));
  }

  @Test
  void beginsAgainWhereThereAreNoRanges() {
    server.ranges = false;
    server.cuts = 2;
    server.cutAfter = 500;
    assertThat(snapshot(ID).resolve(WEIGHTS)).hasBinaryContent(server.files.get(WEIGHTS));
  }

  @Test
  void givesUpWhenNothingComes() throws IOException {
    server.cuts = Integer.MAX_VALUE;
    assertThat(refused(ID)).hasMessageContaining("org/name@main: cannot be downloaded to " + dir);
    // Newer clients of the JDK ask once more by themselves where a connection ends without an
    // answer.
    assertThat(server.storageRequests().size()).isIn(5, 10);
    assertThat(cached()).noneMatch(name -> name.startsWith("refs"));
  }

  @Test
  void itsNumbersAreThoseOfNoLocale() {
    Locale before = Locale.getDefault();
    Locale.setDefault(Locale.forLanguageTag("ar-EG-u-nu-arab"));
    try {
      server.cuts = 1;
      server.cutAfter = 500;
      assertThat(snapshot(ID).resolve(WEIGHTS)).hasBinaryContent(server.files.get(WEIGHTS));
      assertThat(server.storageRequests().get(1).range()).contains("bytes=500-");
    } finally {
      Locale.setDefault(before);
    }
  }

  @Test
  void writesNothingWhereNothingChanged() throws IOException {
    snapshot(ID);
    Path ref = dir.resolve("models--org--name/refs/main");
    FileTime old = FileTime.fromMillis(1_000_000);
    Files.setLastModifiedTime(ref, old);

    snapshot(ID);

    assertThat(Files.getLastModifiedTime(ref)).isEqualTo(old);
  }

  @Test
  void keepsNothingOfAFileThatIsNotWhatItsHashSays() throws IOException {
    server.wrongTag = "a".repeat(64);
    assertThat(refused(ID))
        .hasMessageContaining("model.safetensors is damaged")
        .hasMessageContaining("expected " + server.wrongTag);
    assertThat(cached()).noneMatch(name -> name.contains(server.wrongTag));
    assertThat(cached()).noneMatch(name -> name.endsWith(WEIGHTS) || name.startsWith("refs"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"../../../evil", "etag", "A", ""})
  void refusesATagThatIsNoHash(String tag) {
    server.wrongTag = tag.isEmpty() ? " " : tag;
    assertThat(refused(ID)).hasMessageContaining("expected a SHA-256 or git's SHA-1");
  }

  @Test
  void refusesACommitThatIsNone() {
    server.commit = "../../evil";
    assertThat(refused(ID)).hasMessageContaining("expected a commit of 40 hexadecimal digits");
  }

  @ParameterizedTest
  @CsvSource({
    "401,RepoNotFound,'there is no such model, or it is private; the token of HF_TOKEN does not give access'",
    "401,'','there is no such model, or it is private'",
    "403,GatedRepo,'its owner gives access on its page to those who ask'",
    "404,RevisionNotFound,'it has no revision ''main'''",
    "404,'','there is no such model'",
    "418,'',expected 200"
  })
  void saysWhyTheHubRefuses(int status, String code, String reason) {
    server.refusal = status;
    server.errorCode = code;
    assertThat(refused(ID))
        .hasMessageStartingWith("org/name: 127.0.0.1 answers " + status)
        .hasMessageContaining(reason)
        .hasMessageNotContaining(TOKEN);
  }

  @Test
  void triesAgainWhileTheHubIsBusy() {
    server.refusal = 503;
    assertThat(refused(ID)).hasMessageContaining("answers 503");
    assertThat(server.requests).hasSize(5);
  }

  @Test
  void opensNoConnectionOffline() throws IOException {
    Path snapshot = snapshot(ID);
    server.requests.clear();
    environment.put("HF_HUB_OFFLINE", "1");
    assertThat(snapshot(ID)).isEqualTo(snapshot);
    assertThat(snapshot(new HubId(ID.repository(), FakeHub.COMMIT))).isEqualTo(snapshot);
    assertThat(refused(new HubId(ID.repository(), "v1")))
        .hasMessageContaining("HF_HUB_OFFLINE is set, and the cache")
        .hasMessageContaining("does not have all of it");
    Files.delete(snapshot.resolve(WEIGHTS));
    assertThat(refused(ID)).hasMessageContaining("does not have all of it");
    assertThat(server.requests).isEmpty();
  }

  @Test
  void takesWhatTheCacheHasWhenTheHubCannotBeReached() {
    Path snapshot = snapshot(ID);
    server.close();
    PrintStream before = System.err;
    ByteArrayOutputStream log = new ByteArrayOutputStream();
    System.setErr(new PrintStream(log, true, StandardCharsets.UTF_8));
    try {
      assertThat(snapshot(ID)).isEqualTo(snapshot);
    } finally {
      System.setErr(before);
    }
    assertThat(log.toString(StandardCharsets.UTF_8))
        .contains("org/name@main: the hub cannot be reached")
        .doesNotContain(TOKEN);
    assertThat(refused(new HubId("org/other", "main")))
        .hasMessageContaining("the hub cannot be reached (no connection), and the cache");
  }

  @Test
  void downloadsTheShardsThatTheIndexLists() throws IOException {
    byte[] weights = server.files.remove(WEIGHTS);
    server.files.put("model-00001-of-00002.safetensors", weights);
    server.files.put("model-00002-of-00002.safetensors", noise(100));
    server.files.put("consolidated.safetensors", noise(100));
    index("model-00002-of-00002.safetensors");
    Path snapshot = snapshot(ID);
    assertThat(snapshot.resolve("model-00001-of-00002.safetensors")).hasBinaryContent(weights);
    assertThat(snapshot.resolve("model-00002-of-00002.safetensors")).exists();
    assertThat(snapshot.resolve("consolidated.safetensors")).doesNotExist();
    environment.put("HF_HUB_OFFLINE", "true");
    assertThat(snapshot(ID)).isEqualTo(snapshot);
  }

  @Test
  void refusesAnIndexThatLeadsElsewhere() {
    server.files.remove(WEIGHTS);
    server.files.put("model-00001-of-00002.safetensors", noise(100));
    index("../../../evil.safetensors");
    assertThat(refused(ID)).hasMessageContaining("'../../../evil.safetensors'");
  }

  private void index(String second) {
    server.files.put(
        "model.safetensors.index.json",
        "{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\", \"b\": \"%s\"}}"
            .formatted(second)
            .getBytes(StandardCharsets.UTF_8));
  }

  @Test
  void readsNoPickles() {
    server.files.remove(WEIGHTS);
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> snapshot(ID))
        .withMessageContaining("it has 'pytorch_model.bin', but neither model.safetensors nor")
        .withMessageContaining("a pickle can run code");
    assertThat(server.storageRequests()).isEmpty();
  }

  @Test
  void followsANewName() {
    assertThat(snapshot(new HubId("old/name", "main"))).isDirectory();
  }

  @Test
  void downloadsOnceForManyThreads() {
    List<CompletableFuture<Path>> all =
        IntStream.range(0, 8)
            .mapToObj(i -> CompletableFuture.supplyAsync(() -> snapshot(ID)))
            .toList();
    assertThat(all).allSatisfy(one -> assertThat(one.join().resolve(WEIGHTS)).exists());
    assertThat(server.storageRequests()).hasSize(1);
  }

  @ParameterizedTest
  @CsvSource({
    "HF_ENDPOINT,ftp://somewhere,expected an address",
    "HF_TOKEN,'hf_with space',has characters that no token has"
  })
  void refusesSettingsThatMeanNothing(String variable, String value, String message) {
    environment.put(variable, value);
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> snapshot(ID))
        .withMessageContaining(message)
        .withMessageNotContaining("hf_with");
  }

  @Test
  void findsTheCacheWhereThePythonClientKeepsIt() {
    assertThat(HubCache.folder(Map.of("HOME", "/h/u")))
        .isEqualTo(Path.of("/h/u/.cache/huggingface/hub"));
    assertThat(HubCache.folder(Map.of("HOME", "/h/u", "XDG_CACHE_HOME", "/c")))
        .isEqualTo(Path.of("/c/huggingface/hub"));
    assertThat(HubCache.folder(Map.of("HF_HOME", "/hf", "XDG_CACHE_HOME", "/c")))
        .isEqualTo(Path.of("/hf/hub"));
    assertThat(HubCache.folder(Map.of("HF_HUB_CACHE", "/h", "HF_HOME", "/hf")))
        .isEqualTo(Path.of("/h"));
  }

  @ParameterizedTest
  @CsvSource({
    "a/b,a/b,main",
    "a/b@v1.0,a/b,v1.0",
    "a-1.x/b_2@refs/pr/1,a-1.x/b_2,refs/pr/1",
    "a,,",
    "a/b/c,,",
    "/a/b,,",
    "../b,,",
    "a/..,,",
    "a/b@../x,,",
    "a/b@,,"
  })
  void readsNames(String text, String repository, String revision) {
    assertThat(HubId.parse(text))
        .isEqualTo(Optional.ofNullable(repository).map(name -> new HubId(name, revision)));
  }
}
