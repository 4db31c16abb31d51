package io.llara.spark;

import io.llara.BundledModel;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.ModelSource;
import io.llara.io.TemporaryPath;
import io.llara.retrieval.ModelFingerprint;
import java.io.Serializable;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;
import org.apache.spark.SparkFiles;
import org.jspecify.annotations.Nullable;

/**
 * Which encoder an executor opens. Tasks with equal settings share one.
 *
 * @param model a directory or a model of the hub; null for the model on the class path
 */
record EncoderSettings(
    @Nullable String model,
    ComputeType computeType,
    String device,
    @Nullable Integer maxTokens,
    @Nullable Integer dimension,
    @Nullable Integer threads)
    implements Serializable {
  private static final Pattern LOCAL = Pattern.compile("local(?:\\[(\\*|[0-9]+).*])?");

  /** Opens the encoder, in the process of an executor. */
  Encoder open() {
    EncoderBuilder builder = model == null ? Encoder.builder() : Encoder.builder(source(model));
    builder.computeType(computeType).device(device);
    if (maxTokens != null) {
      builder.maxTokens(maxTokens);
    }
    if (dimension != null) {
      builder.dimension(dimension);
    }
    if (threads != null) {
      builder.threads(threads);
    } else if (device.equals("cpu")) {
      int processors = Runtime.getRuntime().availableProcessors();
      builder.threads(cores(SparkEnv.get().conf(), processors));
    }
    return builder.build();
  }

  /** A relative path may be that of a file that Spark brought: {@code --files}, {@code addFile}. */
  private static ModelSource source(String model) {
    Path path = Path.of(model);
    if (!path.isAbsolute() && !Files.exists(path)) {
      Path brought = Path.of(SparkFiles.getRootDirectory()).resolve(path);
      if (Files.exists(brought)) {
        return ModelSource.directory(brought);
      }
    }
    return ModelSource.of(path);
  }

  /** Returns how many processors this executor may use. */
  static int cores(SparkConf conf, int processors) {
    Matcher local = LOCAL.matcher(conf.get("spark.master", ""));
    if (!local.matches()) {
      return Math.min(conf.getInt("spark.executor.cores", processors), processors);
    }
    String threads = local.group(1);
    if (threads == null) {
      return 1;
    }
    return threads.equals("*") ? processors : Math.min(Integer.parseInt(threads), processors);
  }

  /**
   * Returns a fingerprint of the model, for which it has to be at hand here, and these settings
   * with a model of the hub pinned to the commit that was fingerprinted.
   */
  Fingerprinted fingerprinted() {
    ModelFingerprint fingerprint = new ModelFingerprint(Optional.empty());
    if (model == null) {
      try (TemporaryPath folder = TemporaryPath.folder("llara-model")) {
        BundledModel.find().copyTo(folder.path());
        return new Fingerprinted(this, fingerprint.of(folder.path(), Optional.empty()));
      }
    }
    ModelSource source = source(model);
    Path dir = source.resolve();
    String print = fingerprint.of(dir, Optional.empty());
    if (source.toString().equals(dir.toString())) { // A directory's name is its path.
      return new Fingerprinted(this, print);
    }
    // The cache of the hub has a folder for each commit, of its name.
    String pinned = model.replaceFirst("@.*", "") + "@" + dir.getFileName();
    return new Fingerprinted(
        new EncoderSettings(pinned, computeType, device, maxTokens, dimension, threads), print);
  }

  /**
   * Settings whose model is known by its content.
   *
   * @param model the SHA-256 of the model's files
   */
  record Fingerprinted(EncoderSettings settings, String model) {}
}
