package io.llara.hub;

import io.llara.LlaraException;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.WeightFiles;
import io.llara.io.Messages;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Gets models of the Hugging Face hub, by the environment variables of its Python client: {@code
 * HF_HUB_CACHE} and {@code HF_HOME} say where the cache is, {@code HF_ENDPOINT} where the hub is,
 * {@code HF_TOKEN} who asks, {@code HF_HUB_OFFLINE} that it must not be asked. Thread-safe.
 */
public final class Hub {
  private static final Logger LOG = LoggerFactory.getLogger(Hub.class);

  /** What a model directory may have beside its weights. */
  private static final Pattern SETTINGS =
      Pattern.compile(
          "config\\.json|llara\\.json|modules\\.json|config_sentence_transformers\\.json"
              + "|sentence_bert_config\\.json|tokenizer\\.json|tokenizer\\.model"
              + "|tokenizer_config\\.json|special_tokens_map\\.json|added_tokens\\.json"
              + "|\\d+_\\w+/config\\.json");

  private static final Set<String> YES = Set.of("1", "ON", "YES", "TRUE");

  private final Map<String, String> environment;
  private final Duration retryDelay;

  /** Receives how far a download has come, in bytes, on the thread that asked for it. */
  @FunctionalInterface
  public interface Progress {
    /** Takes the bytes that are here and the bytes of all files. */
    void progress(long done, long total);
  }

  /** Reads the settings from variables, such as those of the process. */
  public Hub(Map<String, String> environment) {
    this(environment, Duration.ofSeconds(1));
  }

  /**
   * Creates one.
   *
   * @param retryDelay how long it waits after the first failure; longer after each that follows
   */
  Hub(Map<String, String> environment, Duration retryDelay) {
    this.environment = environment;
    this.retryDelay = retryDelay;
  }

  /**
   * Returns the directory of a model in the cache, and downloads into it what is missing: settings,
   * tokenizer and safetensors weights, each checked against its hash. If the hub cannot be reached
   * or must not be asked, what the cache has of the revision is taken.
   *
   * @throws UnsupportedModelException if the model has no safetensors weights
   * @throws ModelLoadException if there is no such model or revision, access to it is refused, a
   *     file is not what its hash says, or the hub cannot be reached and the cache does not have it
   * @throws LlaraException if this thread is interrupted
   */
  public Path snapshot(HubId id, Progress progress) {
    Path folder = HubCache.folder(environment);
    HubCache cache = new HubCache(folder, id);
    try {
      if (isOffline()) {
        return cache
            .complete(id.revision())
            .orElseThrow(() -> notCached(id, folder, "HF_HUB_OFFLINE is set"));
      }
      HubClient client = new HubClient(environment, id.repository(), retryDelay);
      HubClient.Listing listing;
      try {
        listing = client.list(id.revision());
      } catch (IOException e) {
        String reason = "the hub cannot be reached (%s)".formatted(HubClient.reason(e));
        Path cached =
            cache.complete(id.revision()).orElseThrow(() -> notCached(id, folder, reason));
        LOG.warn("{}: {}; what the cache has of it is taken", id, reason);
        return cached;
      }
      download(listing, client, cache, progress);
      cache.setCommit(id.revision(), listing.commit());
      return cache.snapshot(listing.commit());
    } catch (IOException e) {
      throw new ModelLoadException(
          "%s: cannot be downloaded to %s: %s".formatted(id, folder, HubClient.reason(e)), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new LlaraException(id + ": interrupted while it was downloaded", e);
    }
  }

  private boolean isOffline() {
    return YES.contains(
        environment.getOrDefault("HF_HUB_OFFLINE", "").strip().toUpperCase(Locale.ROOT));
  }

  private static ModelLoadException notCached(HubId id, Path folder, String reason) {
    return new ModelLoadException(
        "%s: %s, and the cache %s does not have all of it".formatted(id, reason, folder));
  }

  private static void download(
      HubClient.Listing listing, HubClient client, HubCache cache, Progress progress)
      throws IOException, InterruptedException {
    List<String> settings =
        listing.files().stream().filter(file -> SETTINGS.matcher(file).matches()).toList();
    String commit = listing.commit();
    if (listing.files().contains(WeightFiles.SINGLE_FILE)) {
      download(settings, commit, client, cache, (done, total) -> {});
      download(List.of(WeightFiles.SINGLE_FILE), commit, client, cache, progress);
    } else if (listing.files().contains(WeightFiles.INDEX_FILE)) {
      download(settings, commit, client, cache, (done, total) -> {});
      download(List.of(WeightFiles.INDEX_FILE), commit, client, cache, (done, total) -> {});
      Path index = cache.snapshot(commit).resolve(WeightFiles.INDEX_FILE);
      download(WeightFiles.shards(index), commit, client, cache, progress);
    } else {
      throw noWeights(listing, client.name());
    }
  }

  private static UnsupportedModelException noWeights(HubClient.Listing listing, String name) {
    String others =
        listing.files().stream()
            .filter(file -> file.matches(".*\\.(bin|pt|pth|ckpt|gguf|h5|msgpack|safetensors)"))
            .findFirst()
            .map(file -> "it has " + Messages.quote(file) + ", but ")
            .orElse("it has ");
    return new UnsupportedModelException(
        "%s: %sneither %s nor %s; nothing else is read, because a pickle can run code"
            .formatted(name, others, WeightFiles.SINGLE_FILE, WeightFiles.INDEX_FILE));
  }

  private static void download(
      Collection<String> files, String commit, HubClient client, HubCache cache, Progress progress)
      throws IOException, InterruptedException {
    Map<String, HubClient.Remote> missing = new LinkedHashMap<>();
    for (String file : files) {
      if (Files.notExists(cache.snapshot(commit).resolve(file))) {
        missing.put(file, client.find(commit, file));
      }
    }
    long total = missing.values().stream().mapToLong(HubClient.Remote::size).sum();
    long done = 0;
    for (Map.Entry<String, HubClient.Remote> each : missing.entrySet()) {
      HubClient.Remote remote = each.getValue();
      Path blob = cache.blob(remote.etag());
      if (!isWhole(blob, remote)) {
        long before = done;
        try (CacheLock lock = CacheLock.acquire(cache.lock(remote.etag()))) {
          if (!isWhole(blob, remote)) {
            Files.createDirectories(blob.resolveSibling(""));
            client.download(remote, blob, bytes -> progress.progress(before + bytes, total));
          }
        }
      }
      done += remote.size();
      progress.progress(done, total);
      cache.link(commit, each.getKey(), remote.etag());
    }
  }

  private static boolean isWhole(Path blob, HubClient.Remote remote) throws IOException {
    return Files.exists(blob) && Files.size(blob) == remote.size();
  }
}
