"""The study: Q5-Q7 over many seeds, and the tables, figures and text made from its results.

In reading order; each module imports only from those above it::

    errors        what the command line turns into a message
    settings      what is run: seeds, epochs, the four models, the constants of the assignment
    store         files: written whole or not at all, read back with errors that say what is wrong
    statistics    mean, sd, confidence interval, paired differences, medians with runs that never arrive
    inference     bootstrap, permutation tests, effect sizes, censored times
    progress      how far the training has come

    spiral        generate_spiral, and how well the best possible classifier does on it
    dataset       the built-in spiral, or whatever --data names instead; stratified split
    streams       one random stream for each purpose and seed
    masks         Dropout for many small steps
    model         the network: Linear -> norm -> Tanh -> Dropout, twice, then Linear
    training      the visible loop, for S seeds in one pass
    measures      accuracy, loss, the first epoch at a threshold
    shift         variance shift at the norms, statistics re-estimated
    runs          one job: train a group of seeds, measure it, map its decisions
    ledger        results.sqlite: every finished run, kept
    study         all jobs on any concurrent.futures.Executor

    verification  the matrix layers x checks, from harness
    summary       summary.json
    results       the directory of a run: what is computed once, and everything else is made from
    tables, figures           numbers and pictures
    evidence      what tells causes apart
    findings, causes, prose   what was observed, why it may be so, what was run
    page          report.html
    document      report.md and the files beside it
    answers, notebook         an executed notebook that stands alone
    command       what the command line does, in order
"""
