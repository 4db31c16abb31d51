package io.llara;

/**
 * Receives how far long work has come, on the thread that called for it: {@link Encoder#encodeAll}
 * counts texts, {@link ModelSource#resolve(ProgressListener)} bytes.
 */
@FunctionalInterface
public interface ProgressListener {

  /**
   * Takes the progress of the running call.
   *
   * @param done how many texts are encoded, or bytes are here
   * @param total how many there are, or -1 if a stream of texts does not know
   */
  void progress(long done, long total);
}
