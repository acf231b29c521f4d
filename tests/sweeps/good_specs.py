"""Sweep YAMLs that are taken: the least, and one with every section."""

from __future__ import annotations

SMALL = """\
name: tiny
dataset: siim-acr
axes:
  specificity: [label]
  budget: [2]
  method: [erm]
  seed: [0]
"""

FULL = """\
# A sweep with every section.
name: cxr-frontier
dataset: siim-acr@0123abcd
axes:
  specificity: [label, box, mask, {r: 4}, {box: image}]
  budget: [600, 1100, all]
  method: [erm]
  seed: [0, 1, 2147483647]
balance: natural
model:
  classifier: small-cnn
  segmenter: {name: small-unet, channels: 8}
  readout: {name: area_fraction, threshold: 0.3}
train:
  epochs: 150
  batch_size: 32
  optimizer: sgd
  learning_rate: 1e-3
  weight_decay: 0
  momentum: 0.5
  augment: paper
  normalise: imagenet
  precision: bfloat16
  evaluate_every: 5
  keep: auto
  per_specificity:
    label: {learning_rate: 1.0e-5, epochs: 50}
    r: {keep: last}
  per_method:
    erm: {weight_decay: 0.01, epochs: 70}
search:
  sampler: tpe
  trials: 12
  batch: 6
  metric: [val.auroc, dollars]
  seeds: [0, 7]
  space:
    learning_rate: {log: [1.0e-5, 1.0e-2]}
    batch_size: {range: [8, 64]}
    optimizer: [adam, sgd]
    weight_decay: [0, 0.01]
select: {epoch: best test.robust_auroc, operating_point: {sensitivity: 0.95}, margin: 0.05}
cost:
  wage_per_hour: 50
  seconds_per_click: 2.5
  clicks: {label: 2, box: 3, mask: 40, r: 4, spurious_label: 0}
  axis: [compute, training, spurious_labels, validation]
  compute:
    node: g5.xlarge
    count: 8
    node_types:
      g5.xlarge: {dollars_per_hour: 1.006, cpus: 4, gpus: 1}
      c7i.4xlarge: {dollars_per_hour: 0.714, cpus: 16}
published: [saab2022/table1, saab2022/table4]
resources: {cpus: 4, gpus: 0.5, threads: 2}
limits: {trial_minutes: 300, gpu_hours: 500, cpu_hours: 2000, dollars: 900.5, trials: 40}
checkpoint: {every_epochs: 3, keep: true}
embeddings: true
explanations: true
examples: 4
keep: model
store: s3://bucket/some/prefix
"""
