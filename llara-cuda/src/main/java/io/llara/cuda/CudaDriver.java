package io.llara.cuda;

import io.llara.DeviceException;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;

/** The functions of the CUDA driver that are used here, of CUDA 11 and later. */
final class CudaDriver implements NcclGroup.Events {
  private static final List<String> FILES = List.of("libcuda.so.1");

  private static final int NAME_BYTES = 256;

  /** CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR. */
  private static final int MAJOR = 75;

  private static final int MINOR = 76;

  private final NativeLibrary library;

  /**
   * Loads the driver.
   *
   * @throws DeviceException if there is none
   */
  CudaDriver() {
    try {
      library = NativeLibrary.open(FILES);
    } catch (DeviceException e) {
      throw new DeviceException("NVIDIA's driver " + e.getMessage(), e);
    }
    run("cuInit", 0);
  }

  /** Returns a device's name, such as {@code NVIDIA A100-SXM4-80GB}. */
  String name(int device) {
    try (BytePointer name = new BytePointer(NAME_BYTES)) {
      run("cuDeviceGetName", name.address(), NAME_BYTES, device);
      return NativeLibrary.text(name.address());
    }
  }

  /** Returns a device's compute capability times ten, such as 90. */
  int capability(int device) {
    return 10 * attribute(MAJOR, device) + attribute(MINOR, device);
  }

  private int attribute(int attribute, int device) {
    try (IntPointer value = new IntPointer(1L)) {
      run("cuDeviceGetAttribute", value.address(), attribute, device);
      return value.get();
    }
  }

  /** Returns the context of a device that libtorch uses too. */
  long primaryContext(int device) {
    return address(out -> run("cuDevicePrimaryCtxRetain", out, device));
  }

  /** Makes a context the calling thread's, 0 for none, and returns the one it had. */
  long enter(long context) {
    long before = address(out -> run("cuCtxGetCurrent", out));
    run("cuCtxSetCurrent", context);
    return before;
  }

  /** Returns how many bytes are free on the device of the calling thread's context. */
  long freeBytes() {
    try (LongPointer sizes = new LongPointer(2)) {
      run("cuMemGetInfo_v2", sizes.address(), sizes.address() + Long.BYTES);
      return sizes.get(0);
    }
  }

  /** Loads code into the calling thread's context, for good. */
  long load(byte[] code) {
    try (BytePointer image = new BytePointer(code)) {
      return address(out -> run("cuModuleLoadData", out, image.address()));
    }
  }

  /** Returns a kernel of loaded code. */
  long kernel(long module, String name) {
    try (BytePointer text = new BytePointer(name)) {
      return address(out -> run("cuModuleGetFunction", out, module, text.address()));
    }
  }

  /**
   * Starts a kernel on the default stream, on which libtorch runs its operators unless it is told
   * otherwise.
   *
   * @param arguments its only parameter, a struct
   */
  void launch(long kernel, long blocks, int threads, long[] arguments) {
    try (LongPointer struct = new LongPointer(arguments);
        LongPointer parameters = pointing(struct)) {
      run("cuLaunchKernel", kernel, blocks, 1, 1, threads, 1, 1, 0, 0, parameters.address(), 0);
    }
  }

  /** CU_EVENT_DISABLE_TIMING. */
  private static final int NO_TIMING = 2;

  /** CUDA_ERROR_NOT_READY. */
  private static final int NOT_READY = 600;

  @Override
  public long record() {
    long event = address(out -> run("cuEventCreate", out, NO_TIMING));
    run("cuEventRecord", event, 0);
    return event;
  }

  @Override
  public boolean isDone(long event) {
    int result = (int) library.call("cuEventQuery", event);
    if (result != NOT_READY) {
      check("cuEventQuery", result);
    }
    return result != NOT_READY;
  }

  @Override
  public void destroy(long event) {
    run("cuEventDestroy_v2", event);
  }

  /** Returns an array of one address. */
  private static LongPointer pointing(LongPointer to) {
    return new LongPointer(new long[] {to.address()});
  }

  private interface Call {
    void to(long out);
  }

  /** Returns the address that a function stores. */
  private static long address(Call call) {
    try (LongPointer out = new LongPointer(1L)) {
      out.put(0, 0);
      call.to(out.address());
      return out.get();
    }
  }

  private void run(String function, long... arguments) {
    check(function, (int) library.call(function, arguments));
  }

  private void check(String function, int result) {
    if (result != 0) {
      throw new DeviceException(
          "%s: CUDA driver error %d, %s".formatted(function, result, message(result)));
    }
  }

  private String message(int result) {
    try (LongPointer text = new LongPointer(1L)) {
      text.put(0, 0);
      library.call("cuGetErrorString", result, text.address());
      return NativeLibrary.text(text.get());
    }
  }
}
