"""Workers of a fleet as jobs of Slurm, by dask-jobqueue: `pip install dask-jobqueue`, then `python slurm.py`.

Not run here: no Slurm was at hand; that it is Python and offers what jobs ask for is tested. The scheduler runs in this
process, on a login node; leave it running and give its address to `slide-export sweep plan.yaml --scheduler`.
"""

import time

import dask
from dask_jobqueue import SLURMCluster
from distributed import Security

TLS = "/shared/slide-export/tls"  # made by `slide-export sweep certificates`
SLOTS, MEMORY_GIB = 4, 32
OFFERED = {"slot": SLOTS, "memory_gib": MEMORY_GIB, "gpu": 1, "target:onnx": SLOTS, "target:tensorrt": SLOTS}

dask.config.set(
    {
        "distributed.scheduler.allowed-failures": 0,  # who is guilty of a worker's death the client tells
        "distributed.scheduler.work-stealing": False,
        "distributed.worker.daemon": False,  # a job is a child process of its worker
    }
)
cluster = SLURMCluster(
    queue="gpu",
    cores=SLOTS,
    processes=1,
    memory=f"{MEMORY_GIB} GiB",
    walltime="08:00:00",
    protocol="tls://",
    security=Security(
        require_encryption=True,
        tls_ca_file=f"{TLS}/ca.pem",
        tls_client_cert=f"{TLS}/client.pem",
        tls_client_key=f"{TLS}/client.key",
        tls_scheduler_cert=f"{TLS}/scheduler.pem",
        tls_scheduler_key=f"{TLS}/scheduler.key",
        tls_worker_cert=f"{TLS}/worker.pem",
        tls_worker_key=f"{TLS}/worker.key",
    ),
    scheduler_options={"port": 8786, "dashboard_address": None},
    worker_extra_args=["--resources", ",".join(f"{name}={amount}" for name, amount in OFFERED.items())],
    job_extra_directives=["--gres=gpu:1", "--requeue"],
    job_script_prologue=["source /shared/slide-export/bin/activate", "export OMP_NUM_THREADS=1"],
)
cluster.adapt(minimum_jobs=0, maximum_jobs=20)
print(cluster.scheduler_address, flush=True)
while True:
    time.sleep(60)
