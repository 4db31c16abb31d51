package io.llara.server;

import io.llara.Encoder;
import io.llara.Mode;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;

/** An encoder whose embeddings are ready when a test says so. */
final class HeldEncoder implements Encoder {
  final List<CompletableFuture<float[]>> held = new CopyOnWriteArrayList<>();
  private final Encoder real;

  HeldEncoder(Encoder real) {
    this.real = real;
  }

  @Override
  public CompletableFuture<float[]> encodePromptAsync(Prompt prompt, Mode mode) {
    CompletableFuture<float[]> future = new CompletableFuture<>();
    held.add(future);
    return future;
  }

  void release() {
    held.forEach(future -> future.complete(new float[] {1, 0}));
  }

  @Override
  public float[] encode(String text, Mode mode) {
    return real.encode(text, mode);
  }

  @Override
  public int dimension() {
    return 2;
  }

  @Override
  public int maxTokens() {
    return real.maxTokens();
  }

  @Override
  public PromptBuilder prompts() {
    return real.prompts();
  }
}
