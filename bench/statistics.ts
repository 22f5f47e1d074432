/** Numbers out of samples. Medians: a machine that does something else meanwhile moves them little. */

/** @throws RangeError without samples */
export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[middle]]
  if (low === undefined || high === undefined) throw new RangeError('no samples')
  return (low + high) / 2
}

/** Sample by sample, as they alternated: what disturbed one round disturbed both sides of it. */
export function medianOfRatios(samples: readonly number[], bases: readonly number[]): number {
  return median(samples.map((sample, index) => sample / (bases[index] ?? Number.NaN)))
}

/** The sample that so many percent of all do not exceed (nearest rank). @throws RangeError without samples */
export function percentile(samples: readonly number[], percent: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  const sample = sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)]
  if (sample === undefined) throw new RangeError('no samples')
  return sample
}
