/** How often a test that leaves things to chance repeats them. */

/** CNIKIT_EMULATED is set in the guests of scripts/vm, where everything takes about twenty times longer. */
export const repetitions = (count: number): number =>
  process.env.CNIKIT_EMULATED === undefined ? count : Math.ceil(count / 8)
