package io.llara.tensor;

import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;

/**
 * The lifetime of native objects: everything created on this thread while the scope is the
 * innermost one is freed when it closes, except what is {@linkplain #keep kept}.
 *
 * <p>Scopes nest and are bound to the thread that opened them. Use try-with-resources.
 */
public final class TensorScope implements AutoCloseable {
  private final PointerScope scope = new PointerScope();

  /**
   * Hands a tensor to the scope that encloses this one on this thread.
   *
   * @throws IllegalStateException if no scope encloses this one; then {@link #own} is meant
   */
  public Tensor keep(Tensor tensor) {
    var scopes = PointerScope.getScopeIterator();
    while (scopes.hasNext() && scopes.next() != scope) {
      // look for this scope; the one after it encloses it
    }
    if (!scopes.hasNext()) {
      throw new IllegalStateException("there is no enclosing scope to hand the tensor to");
    }
    // A handle of its own: what in-place operations return is only an alias of another handle,
    // which dies with this scope.
    Tensor handle = new Tensor(tensor);
    scopes.next().attach(handle);
    scope.detach(handle);
    return handle;
  }

  /** Takes a tensor out of this scope: the caller owns it from now on and closes it. */
  public Tensor own(Tensor tensor) {
    Tensor handle = new Tensor(tensor);
    handle.retainReference();
    scope.detach(handle);
    return handle;
  }

  /**
   * Gives an owned tensor to the innermost scope of this thread, which frees it from now on.
   *
   * @throws IllegalStateException if this thread has no scope open
   */
  public static Tensor adopt(Tensor owned) {
    PointerScope innermost = PointerScope.getInnerScope();
    if (innermost == null) {
      throw new IllegalStateException("there is no open scope on this thread");
    }
    innermost.attach(owned);
    owned.releaseReference();
    return owned;
  }

  /** Frees a tensor of this scope before the scope ends. */
  public void free(Tensor tensor) {
    scope.detach(tensor);
  }

  /** Returns how many native objects are alive in the whole process. */
  public static long liveObjects() {
    return Pointer.totalCount();
  }

  @Override
  public void close() {
    scope.close();
  }
}
