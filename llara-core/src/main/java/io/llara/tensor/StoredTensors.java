package io.llara.tensor;

import io.llara.ModelLoadException;
import io.llara.checkpoint.TensorEntry;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.Charset;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Tensors out of safetensors files, mapped or read. For one thread; closing it ends no mapping that
 * a tensor still uses.
 */
public final class StoredTensors implements AutoCloseable {
  /** A buffer over native memory holds an int's worth of bytes. */
  private static final int CHUNK = 1 << 30;

  /** How this process spells file names to the system; not always the default charset. */
  private static final Charset FILE_NAMES =
      Charset.forName(System.getProperty("sun.jnu.encoding", "UTF-8"));

  private final Map<Path, Tensor> mapped = new HashMap<>();

  /**
   * Returns a tensor that is a view of its file: no memory is allocated, pages are read when
   * touched. The caller owns it. The file must not shrink while the tensor lives.
   */
  public Tensor map(TensorEntry entry) {
    ScalarType type = NumberTypes.of(entry.type());
    if (entry.offset() % entry.type().bytes() != 0 || entry.length() == 0) {
      return read(entry); // A view of another type needs an aligned start.
    }
    try (TensorScope scope = new TensorScope()) {
      Tensor bytes = mapped.computeIfAbsent(entry.file(), file -> scope.own(mapFile(file)));
      if (entry.offset() + entry.length() > bytes.numel()) {
        throw shrunk(entry);
      }
      return scope.own(
          bytes.narrow(0, entry.offset(), entry.length()).view(type).view(entry.shape()));
    }
  }

  /** Returns a tensor with a copy of its bytes. The caller owns it. */
  public Tensor read(TensorEntry entry) {
    try (TensorScope scope = new TensorScope();
        FileChannel channel = FileChannel.open(entry.file(), StandardOpenOption.READ)) {
      Tensor tensor =
          torch.empty(entry.shape(), new TensorOptions(NumberTypes.of(entry.type())), null);
      BytePointer data = new BytePointer(tensor.data_ptr());
      for (long done = 0; done < entry.length(); ) {
        int size = (int) Math.min(CHUNK, entry.length() - done);
        ByteBuffer buffer = data.position(done).limit(done + size).asByteBuffer();
        while (buffer.hasRemaining()) {
          int count = channel.read(buffer, entry.offset() + done + buffer.position());
          if (count < 0) {
            throw new EOFException();
          }
        }
        done += size;
      }
      return scope.own(tensor);
    } catch (EOFException e) {
      throw shrunk(entry);
    } catch (IOException e) {
      throw new ModelLoadException(
          "%s: tensor %s cannot be read: %s".formatted(entry.file(), entry.name(), e), e);
    }
  }

  private static ModelLoadException shrunk(TensorEntry entry) {
    return new ModelLoadException(
        "%s: the file ended within tensor %s; it became shorter while it was loaded"
            .formatted(entry.file(), entry.name()));
  }

  private static Tensor mapFile(Path file) {
    try {
      return torch.torch_from_file(
          new BytePointer(file.toString(), FILE_NAMES),
          new BoolOptional(false),
          new LongOptional(Files.size(file)),
          new TensorOptions(ScalarType.Byte));
    } catch (IOException e) {
      throw new ModelLoadException("%s cannot be read: %s".formatted(file, e), e);
    } catch (RuntimeException e) {
      // JavaCPP's only exception type for native errors.
      throw new ModelLoadException(
          "%s cannot be mapped into memory: %s".formatted(file, firstLine(e)), e);
    }
  }

  private static String firstLine(RuntimeException e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse("");
  }

  @Override
  public void close() {
    mapped.values().forEach(Tensor::close);
    mapped.clear();
  }
}
