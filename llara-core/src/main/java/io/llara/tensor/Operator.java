package io.llara.tensor;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Argument;
import org.bytedeco.pytorch.Dispatcher;
import org.bytedeco.pytorch.GenericList;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.IValueVector;
import org.bytedeco.pytorch.OperatorHandle;
import org.bytedeco.pytorch.OperatorHandleOptional;
import org.bytedeco.pytorch.OperatorName;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.Type;
import org.jspecify.annotations.Nullable;

/**
 * An operator of libtorch that the presets do not map to a method: looked up by name in the
 * dispatcher once and called with boxed arguments. Thread-safe.
 */
public final class Operator {
  private final @Nullable OperatorHandle handle;

  /** The element types of list arguments used so far, by the argument's index. */
  private final Map<Integer, Type.TypePtr> elementTypes = new ConcurrentHashMap<>();

  /** Looks an operator up, such as {@code ("aten::add", "Tensor")}. */
  public Operator(String name, String overload) {
    Libtorch.load();
    try (PointerScope scope = new PointerScope();
        OperatorName operatorName = new OperatorName(name, overload)) {
      OperatorHandleOptional found = Dispatcher.singleton().findSchema(operatorName);
      if (found.has_value()) {
        // A copy that outlives this scope: operators are static and live as long as the process.
        handle = new OperatorHandle(found.get());
        handle.retainReference();
        scope.detach(handle);
      } else {
        handle = null;
      }
    }
  }

  /** Returns whether this build of libtorch has the operator. */
  public boolean exists() {
    return handle != null;
  }

  /**
   * Calls the operator and returns its first result.
   *
   * @throws IllegalStateException if this build of libtorch does not have the operator
   */
  public Tensor call(IValue... arguments) {
    IValueVector stack = new IValueVector(arguments);
    handle().callBoxed(stack);
    // The value on the stack dies with the stack; the result is a handle of its own.
    return new Tensor(stack.get(0).toTensor());
  }

  /**
   * Calls an operator without arguments whose result is a boolean.
   *
   * @throws IllegalStateException if this build of libtorch does not have the operator
   */
  public boolean test() {
    try (PointerScope scope = new PointerScope()) {
      IValueVector stack = new IValueVector();
      handle().callBoxed(stack);
      return stack.get(0).toBool();
    }
  }

  /**
   * Calls an operator that changes its arguments and has no result.
   *
   * @throws IllegalStateException if this build of libtorch does not have the operator
   */
  public void run(IValue... arguments) {
    handle().callBoxed(new IValueVector(arguments));
  }

  /**
   * Returns an empty list of the type that an argument of this operator has, in the caller's
   * innermost scope.
   */
  public IValue emptyList(int argument) {
    return new IValue(new GenericList(elementTypes.computeIfAbsent(argument, this::elementType)));
  }

  /**
   * Called once an argument: the presets copy a schema's arguments at every reading, some
   * kilobytes, and never free them.
   */
  private Type.TypePtr elementType(int argument) {
    try (PointerScope scope = new PointerScope()) {
      Argument declared = handle().schema().arguments().getPointer(argument);
      Type.TypePtr type = declared.type().get().containedType(0);
      // Types live as long as the process, as operators do.
      type.retainReference();
      scope.detach(type);
      return type;
    }
  }

  private OperatorHandle handle() {
    if (handle == null) {
      throw new IllegalStateException("this build of libtorch does not have the operator");
    }
    return handle;
  }
}
