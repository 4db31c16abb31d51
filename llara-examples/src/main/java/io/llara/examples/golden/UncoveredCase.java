package io.llara.examples.golden;

/** A case of a kind that this version does not replay. */
record UncoveredCase(String file, String name) implements GoldenCase {
  @Override
  public CaseReport replay(ReplayEngines engines) {
    return CaseReport.notCovered();
  }
}
