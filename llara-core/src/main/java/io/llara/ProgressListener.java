package io.llara;

/** Receives how far {@link Encoder#encodeAll} has come, on the thread that called it. */
@FunctionalInterface
public interface ProgressListener {

  /**
   * Takes the progress of the running call.
   *
   * @param done how many texts are encoded
   * @param total how many there are, or -1 if the stream does not know
   */
  void progress(long done, long total);
}
