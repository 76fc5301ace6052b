"""The study: Q5-Q7 over many seeds, and the tables, figures and text made from its results.

In reading order::

    settings      what is run: seeds, epochs, the four models, the constants of the assignment
    errors        the one error that the command line turns into a message
    spiral        generate_spiral, and how well the best possible classifier does on it
    dataset       the built-in spiral, or whatever --data names instead; stratified split
    streams       one random stream for each purpose and seed
    model         the network: Linear -> norm -> Tanh -> Dropout, twice, then Linear
    training      the visible loop, for S seeds in one pass
    measures      accuracy, loss, epochs to a threshold
    runs          one job: train a group of seeds, measure it, look at its decision boundary
    study         all jobs on any concurrent.futures.Executor
    verification  the matrix layers x checks, from harness
    statistics    mean, sd, confidence interval, paired differences
    summary       summary.json
    store         the files of one report, written whole or not at all
    tables, figures, prose, document     what a reader sees
"""
