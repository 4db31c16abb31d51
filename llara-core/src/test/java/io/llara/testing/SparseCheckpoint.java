package io.llara.testing;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Checkpoints of any size whose weights are all zero and never written: holes in files. */
public final class SparseCheckpoint {
  private static final int BYTES = 2;

  private SparseCheckpoint() {}

  /** Writes a bfloat16 checkpoint in shards; returns the size of the weights in bytes. */
  public static long write(Path dir, LlamaConfig config, int shards) throws IOException {
    RandomCheckpoint.writeConfig(dir, config);
    Map<String, long[]> shapes = new LinkedHashMap<>(LlamaTensors.required(config));
    shapes.put(LlamaTensors.HEAD, LlamaTensors.headShape(config));
    List<String> names = new ArrayList<>(shapes.keySet());
    JsonObject weightMap = new JsonObject();
    long total = 0;
    for (int shard = 0; shard < shards; shard++) {
      String file = "model-%05d-of-%05d.safetensors".formatted(shard + 1, shards);
      List<String> part =
          names.subList(names.size() * shard / shards, names.size() * (shard + 1) / shards);
      part.forEach(name -> weightMap.addProperty(storedName(name), file));
      total += writeShard(dir.resolve(file), part, shapes);
    }
    JsonObject index = new JsonObject();
    index.add("weight_map", weightMap);
    Files.writeString(dir.resolve("model.safetensors.index.json"), index.toString());
    return total;
  }

  private static String storedName(String name) {
    return name.equals(LlamaTensors.HEAD) ? name : "model." + name;
  }

  private static long writeShard(Path file, List<String> names, Map<String, long[]> shapes)
      throws IOException {
    JsonObject header = new JsonObject();
    long offset = 0;
    for (String name : names) {
      JsonObject tensor = new JsonObject();
      tensor.addProperty("dtype", "BF16");
      tensor.add("shape", array(shapes.get(name)));
      long length = BYTES;
      for (long size : shapes.get(name)) {
        length *= size;
      }
      tensor.add("data_offsets", array(offset, offset + length));
      header.add(storedName(name), tensor);
      offset += length;
    }
    // Padded so that the weights are aligned and can be mapped.
    String json = header + " ".repeat(8 - header.toString().length() % 8);
    ByteBuffer begin = ByteBuffer.allocate(8 + json.length()).order(ByteOrder.LITTLE_ENDIAN);
    begin.putLong(json.length()).put(json.getBytes(StandardCharsets.US_ASCII));
    try (RandomAccessFile out = new RandomAccessFile(file.toFile(), "rw")) {
      out.write(begin.array());
      out.setLength(begin.capacity() + offset);
    }
    return offset;
  }

  private static JsonArray array(long... values) {
    JsonArray array = new JsonArray();
    for (long value : values) {
      array.add(value);
    }
    return array;
  }
}
