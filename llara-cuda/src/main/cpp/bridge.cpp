// Calls a C function by its address. CUDA's driver and NVRTC are reached so: whichever version is installed, and without
// being linked to one. Freestanding, as core's kernels are. By the Java Native Interface's naming, without its header:
// environment and class are not used.

using int64 = long long;

extern "C" __attribute__((visibility("default"))) int64 Java_io_llara_cuda_NativeLibrary_call(
    void*, void*, int64 function, int64 arguments) {
  using Function = int64 (*)(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64,
                             int64, int64, int64, int64, int64, int64, int64, int64);
  // The caller of a C function removes its arguments: those that it does not take do no harm. Integers and pointers
  // come in registers and slots of 8 bytes whatever their size.
  const int64* a = reinterpret_cast<const int64*>(arguments);
  return reinterpret_cast<Function>(function)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11],
                                                a[12], a[13], a[14], a[15], a[16], a[17], a[18], a[19], a[20], a[21]);
}
