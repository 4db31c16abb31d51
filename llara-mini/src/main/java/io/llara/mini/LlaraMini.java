package io.llara.mini;

import io.llara.BundledModel;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;

/** The default encoder: what {@link io.llara.Encoder#loadDefault} opens. */
public final class LlaraMini implements BundledModel {
  /** Called by {@link java.util.ServiceLoader}. */
  public LlaraMini() {}

  @Override
  public String name() {
    return "llara-mini";
  }

  @Override
  public InputStream open(String file) throws IOException {
    InputStream in = LlaraMini.class.getResourceAsStream("model/" + file);
    if (in == null) {
      throw new FileNotFoundException("there is no such file in the jar");
    }
    return in;
  }
}
