"""The deployment files: structure of the YAML, types of the protobuf text."""

import pathlib
import re

import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

import export
from export import serving

DEPLOY = pathlib.Path(export.__file__).parent / "deploy"
SERVER_FLAGS = {
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "allow_version_labels_for_unavailable_models",
    "monitoring_config_file",
    "file_system_poll_wait_seconds",
}


def documents(name):
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def message_types():
    """BatchingParameters and MonitoringConfig, which no package carries.

    As in TensorFlow Serving's session_bundle_config.proto and monitoring_config.proto,
    fields and numbers.
    """
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="test_deploy.proto", package="tensorflow.serving", syntax="proto3"
    )
    file.dependency.append("google/protobuf/wrappers.proto")
    batching = file.message_type.add(name="BatchingParameters")
    names = ("max_batch_size", "batch_timeout_micros")
    names += ("max_enqueued_batches", "num_batch_threads")
    for number, name in enumerate(names, 1):
        batching.field.add(
            name=name,
            number=number,
            type=kinds.TYPE_MESSAGE,
            label=kinds.LABEL_OPTIONAL,
            type_name=".google.protobuf.Int64Value",
        )
    prometheus = file.message_type.add(name="PrometheusConfig")
    for number, (name, kind) in enumerate(
        (("enable", kinds.TYPE_BOOL), ("path", kinds.TYPE_STRING)), 1
    ):
        prometheus.field.add(
            name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL
        )
    file.message_type.add(name="MonitoringConfig").field.add(
        name="prometheus_config",
        number=1,
        type=kinds.TYPE_MESSAGE,
        label=kinds.LABEL_OPTIONAL,
        type_name=".tensorflow.serving.PrometheusConfig",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"tensorflow.serving.{name}")
        )
        for name in ("BatchingParameters", "MonitoringConfig")
    }


def models(text):
    config = model_server_config_pb2.ModelServerConfig()
    (model,) = text_format.Parse(text, config).model_config_list.config
    return model


def monitoring(text):
    return text_format.Parse(text, message_types()["MonitoringConfig"]())


def read(name):
    return (DEPLOY / name).read_text(encoding="utf-8")


def flags(arguments):
    found = dict(
        re.fullmatch("--([a-z_]+)=(.+)", given).groups() for given in arguments
    )
    assert set(found) <= SERVER_FLAGS
    return found


def test_every_model_config_is_one():
    latest, canary = models(read("models.config")), models(read("models.canary.config"))
    for model in (latest, canary):
        assert (model.name, model.base_path) == ("singan", "/models/singan")
        assert model.model_platform == "tensorflow"
    assert latest.model_version_policy.latest.num_versions == 1
    assert not latest.version_labels
    # A label on a version that is not loaded answers nothing.
    versions = set(canary.model_version_policy.specific.versions)
    assert set(canary.version_labels.values()) == versions == {1, 2}
    assert set(canary.version_labels) == {"stable", "canary"}


def test_batching_and_monitoring_are_what_the_server_reads():
    batching = message_types()["BatchingParameters"]()
    text_format.Parse(read("batching.config"), batching)
    assert batching.max_batch_size.value == 8
    prometheus = monitoring(read("monitoring.config")).prometheus_config
    assert prometheus.enable and prometheus.path == "/monitoring/prometheus/metrics"


def test_compose_mounts_what_the_flags_name():
    services = documents("docker-compose.yaml")[0]["services"]
    server = services["serving"]
    assert server["image"] == f"{serving.IMAGE}:{serving.OLDEST}"
    # Open to this machine alone.
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert {port.split(":")[2] for port in server["ports"]} == {"8500", "8501"}
    mounts = {}
    for volume in server["volumes"] + services["prometheus"]["volumes"]:
        source, target, mode = re.fullmatch(
            r"(\$\{.+\}|[^:]+):(.+):(.+)", volume
        ).groups()
        assert mode == "ro"
        assert source.startswith("${SAVED_MODEL") or (DEPLOY / source).exists()
        mounts[target] = source
    given = flags(server["command"])
    for flag in ("model_config_file", "monitoring_config_file"):
        folder, name = given[flag].rsplit("/", 1)
        assert (DEPLOY / mounts[folder] / name).is_file()
    assert models(read("models.config")).base_path in mounts


def test_prometheus_asks_where_the_server_answers():
    (job,) = documents("prometheus.yaml")[0]["scrape_configs"]
    path = monitoring(read("monitoring.config")).prometheus_config.path
    assert job["metrics_path"] == path
    (config,) = job["static_configs"]
    (target,) = config["targets"]
    host, port = target.split(":")
    assert host in documents("docker-compose.yaml")[0]["services"] and port == "8501"


@pytest.fixture
def cluster():
    return {document["kind"]: document for document in documents("kubernetes.yaml")}


def test_the_config_map_holds_the_files_of_the_folder(cluster):
    data = cluster["ConfigMap"]["data"]
    assert set(data) == {"models.config", "monitoring.config"}
    assert models(data["models.config"]) == models(read("models.config"))
    text = read("monitoring.config")
    # Of two pools, so of two types.
    assert str(monitoring(data["monitoring.config"])) == str(monitoring(text))


def test_service_and_autoscaler_find_the_deployment(cluster):
    deployment = cluster["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert cluster["Service"]["spec"]["selector"].items() <= labels.items()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    for port in cluster["Service"]["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]
    scaler = cluster["HorizontalPodAutoscaler"]["spec"]
    assert cluster["HorizontalPodAutoscaler"]["apiVersion"] == "autoscaling/v2"
    assert scaler["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }
    assert 1 <= scaler["minReplicas"] < scaler["maxReplicas"]
    # It would fight with the autoscaler; utilisation is a share of what is requested.
    assert "replicas" not in deployment["spec"]
    assert {metric["resource"]["name"] for metric in scaler["metrics"]} <= set(
        container["resources"]["requests"]
    )


def test_the_pod_mounts_what_its_flags_name(cluster):
    spec = cluster["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["image"] == f"{serving.IMAGE}:{serving.OLDEST}"
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == set(volumes)
    assert all(mount["readOnly"] for mount in mounts.values())
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert claim == cluster["PersistentVolumeClaim"]["metadata"]["name"]
    name = cluster["ConfigMap"]["metadata"]["name"]
    assert volumes["config"]["configMap"]["name"] == name
    given = flags(container["args"])
    for flag in ("model_config_file", "monitoring_config_file"):
        folder, name = given[flag].rsplit("/", 1)
        assert mounts[folder]["name"] == "config"
        assert name in cluster["ConfigMap"]["data"]
    assert mounts[models(read("models.config")).base_path]["name"] == "models"


def test_the_probes_ask_the_container(cluster):
    spec = cluster["Deployment"]["spec"]["template"]
    (container,) = spec["spec"]["containers"]
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    ready = container["readinessProbe"]["httpGet"]
    assert ready == {"path": "/v1/models/singan", "port": "rest"}
    assert models(read("models.config")).name == "singan"
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["tcpSocket"]["port"] in ports
    annotations = spec["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == ports["rest"]
    path = monitoring(read("monitoring.config")).prometheus_config.path
    assert annotations["prometheus.io/path"] == path


def test_kserve_serves_the_same_release():
    (service,) = documents("kserve.yaml")
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert service["kind"] == "InferenceService"
    model = service["spec"]["predictor"]["model"]
    assert model["modelFormat"]["name"] == "tensorflow"
    assert model["runtimeVersion"] == serving.OLDEST
    assert model["storageUri"].startswith("gs://")
    assert service["metadata"]["name"] == models(read("models.config")).name
