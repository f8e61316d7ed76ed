// Its guide to performance: jobs fetched and completed in batches.
module.exports = {
  worker: {
    taskDirectory: `${__dirname}/tasks`,
    localQueue: { size: Number(process.env.BENCH_LOCAL_QUEUE || 500) },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
};
