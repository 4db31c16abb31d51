package io.llara.benchmarks;

import com.google.common.hash.Hashing;
import io.llara.BundledModel;
import io.llara.Encoder;
import io.llara.retrieval.CorpusVectors.CachePlace;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;

/** The default encoder, whose vectors several programs share. */
public final class DefaultEncoder {
  /** What programs call it. */
  public static final String NAME = "llara-mini";

  private DefaultEncoder() {}

  /**
   * Opens it.
   *
   * @param type what it computes in, such as {@code float32}
   */
  public static Encoder open(String type, int threads) {
    return Encoder.builder().computeType(Types.parse(type)).threads(threads).build();
  }

  /** Returns where its vectors are kept. */
  public static CachePlace place(Path cache) {
    try (InputStream checksums = BundledModel.find().open(BundledModel.CHECKSUMS)) {
      return new CachePlace(cache, Hashing.sha256().hashBytes(checksums.readAllBytes()).toString());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
