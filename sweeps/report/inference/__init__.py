"""Intervals, orders and joint draws of AUROCs: seeds are readers, test images are cases.

Every seed of a cell scores every test image, which is the fully crossed design of multi-reader
multi-case studies (Obuchowski and Rockette 1995, Communications in Statistics 24(2)). So an
interval says what new seeds **and** new patients would give, not new seeds alone.

With S seeds, positives i and negatives j (robust AUROC: the images whose attribute contradicts
their label; overall AUROC: all test images):

    psi[s,i,j] = [pos_i > neg_j] + 0.5 [equal];  A_s = mean of psi[s];  A = mean of A_s
    V10[s,i] = mean over j of psi,  V01[s,j] = mean over i of psi       by mid-ranks
    C[s,t] = cov_i(V10[s], V10[t]) / m + cov_j(V01[s], V01[t]) / n      DeLong et al. 1988
    MS = var(A_s), ddof = 1;  Cov2 = max(mean off-diagonal of C, 0)
    se^2 = MS / S + Cov2                                    Obuchowski and Rockette 1995, eq. 2-4
    df = (MS + S Cov2)^2 / (MS^2 / (S - 1))                 Hillis 2007, Stat. Med. 26, eq. 12
    interval = expit(logit(A) -+ t(df) se / (A (1 - A)))    delta method: never outside [0, 1]

A difference of two cells uses A_2s - A_1s and the DeLong covariance of the differences in the same
formulas, paired by seed, without the logit; MS in its df is at least the mean variance minus the
mean covariance of C, which is what images alone make seeds differ by. Where a patient has several
images, V10 and V01 are summed by patient, and patients are what varies (Obuchowski 1997, Biometrics
53, eq. 3-8). Orders of a table are judged together by Holm's step-down rule (Holm 1979).

One trained model on new patients (`model_interval`, of exported models): the model is fixed, so
se^2 is C[s,s] alone, summed by patient, with the normal quantile.

`components` turns scores into vectors whose inner products are these covariances; `intervals` has
the intervals and when none is printed; `joint` the draws of all cells; `attainment` what each sum
of dollars reaches in them; `orders` Holm's rule; `curves` what further images would do.
"""
