package io.llara.tokenize;

import ai.djl.engine.EngineException;
import ai.djl.huggingface.tokenizers.jni.LibUtils;
import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import ai.djl.util.Utils;
import com.google.common.base.Throwables;
import io.llara.LlaraException;
import io.llara.io.NativeLoading;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Function;

/**
 * One tokenizer of the native library and its lifetime.
 *
 * <p>It calls DJL's native methods directly: DJL's own class would copy out eight arrays and an
 * object a token for each text, and lowers or trims the text if a file beside it says so. A panic
 * in the native library ends the JVM, so that only JSON which {@link TokenizerJson} has checked may
 * come here.
 *
 * <p>Thread-safe; a call under way holds up {@link #close}.
 */
final class NativeTokenizer implements AutoCloseable {
  private final ReadWriteLock lock = new ReentrantReadWriteLock();
  private final long handle;
  private boolean closed;

  /** Loads the native library once, on first use. */
  private static final class Library {
    private static final TokenizersLibrary LIBRARY = load();

    private static TokenizersLibrary load() {
      // DJL would otherwise report its use to a server, and look for CUDA builds to download.
      setUnlessSet("OPT_OUT_TRACKING", "true");
      setUnlessSet("ai.djl.offline", "true");
      setUnlessSet("RUST_FLAVOR", "cpu");
      return NativeLoading.alone(
          () -> {
            LibUtils.checkStatus();
            return TokenizersLibrary.LIB;
          });
    }

    private static void setUnlessSet(String key, String value) {
      if (System.getProperty(key) == null && System.getenv(key) == null) {
        System.setProperty(key, value);
      }
    }
  }

  /**
   * Makes a tokenizer of a checked tokenizer JSON.
   *
   * @throws NativeTokenizerException if the native library refuses it
   * @throws LlaraException if the native library cannot be loaded
   */
  NativeTokenizer(String json) throws NativeTokenizerException {
    TokenizersLibrary library = library();
    try {
      handle = library.createTokenizerFromString(json);
    } catch (RuntimeException e) {
      // The JNI layer throws bare RuntimeExceptions with the native message, and nothing else.
      throw new NativeTokenizerException(e);
    }
  }

  private static TokenizersLibrary library() {
    try {
      return Library.LIBRARY;
    } catch (EngineException | LinkageError e) {
      throw new LlaraException(
          "the native tokenizers library of DJL cannot be loaded on %s %s: %s"
              .formatted(System.getProperty("os.name"), System.getProperty("os.arch"), reason(e)),
          e);
    }
  }

  /** Says that the library cannot be unpacked, which DJL only logs, or what DJL says. */
  private static String reason(Throwable e) {
    Path cache = Utils.getEngineCacheDir("tokenizers").toAbsolutePath();
    for (Path folder = cache; folder != null; folder = folder.getParent()) {
      if (Files.exists(folder)) {
        if (!Files.isWritable(folder)) {
          return "it is unpacked into %s, and %s cannot be written; DJL_CACHE_DIR names another"
                  .formatted(cache, folder)
              + " directory";
        }
        break;
      }
    }
    return String.valueOf(Throwables.getRootCause(e).getMessage());
  }

  /** Returns the ids of a text; the post-processor, if there is one, adds none. */
  int[] encode(String text) throws NativeTokenizerException {
    return whileOpen(
        library -> {
          long encoding = library.encode(handle, text, false);
          try {
            return Arrays.stream(library.getTokenIds(encoding))
                .mapToInt(Math::toIntExact)
                .toArray();
          } finally {
            library.deleteEncoding(encoding);
          }
        });
  }

  /** Returns the text of ids; those without a token are skipped. */
  String decode(int[] ids) throws NativeTokenizerException {
    return whileOpen(
        library -> library.decode(handle, Arrays.stream(ids).asLongStream().toArray(), false));
  }

  private <T> T whileOpen(Function<TokenizersLibrary, T> call) throws NativeTokenizerException {
    lock.readLock().lock();
    try {
      if (closed) {
        throw new IllegalStateException("this Tokenizer is closed");
      }
      return call.apply(Library.LIBRARY);
    } catch (IllegalStateException e) {
      throw e;
    } catch (RuntimeException e) {
      throw new NativeTokenizerException(e);
    } finally {
      lock.readLock().unlock();
    }
  }

  @Override
  public void close() {
    lock.writeLock().lock();
    try {
      if (!closed) {
        closed = true;
        Library.LIBRARY.deleteTokenizer(handle);
      }
    } finally {
      lock.writeLock().unlock();
    }
  }

  /** The native library's word on a file or a text; the caller says which. */
  static final class NativeTokenizerException extends Exception {
    private static final long serialVersionUID = 1L;

    NativeTokenizerException(RuntimeException cause) {
      super(String.valueOf(cause.getMessage()), cause);
    }
  }
}
