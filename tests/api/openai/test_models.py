import msgspec
import pytest

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


async def test_list_has_all_that_clients_want_to_know(client):
    listed = (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert listed["data"][0] == {
        "id": MODEL,
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "HuggingFaceTB",
        "name": "SmolLM2 135M",
        "context_length": 8192,
        "max_completion_tokens": 8192,
        "supported_features": ["tools"],
        "supported_parameters": ["seed"],
        "aliases": ["small"],
        "pricing": None,
    }


@pytest.mark.parametrize("slug", [MODEL, MODEL.replace("/", "%2F"), "small"])
async def test_model_is_found_by_slug_and_alias(client, slug):
    response = await client.get(f"/v1/models/{slug}")
    assert (response.status_code, response.json()["id"]) == (200, MODEL)


@pytest.mark.parametrize("slug", ["nothing", "huggingfacetb/smollm2-135m-instruct", "x" * 5000])
async def test_unknown_model_is_404(client, slug):
    response = await client.get(f"/v1/models/{slug}")
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert len(error["message"]) < 300


async def test_key_sees_its_own_models_only(client, keys):
    keys.account = msgspec.structs.replace(keys.account, models=frozenset({"small"}))
    listed = (await client.get("/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == [MODEL]
    assert (await client.get("/v1/models/other")).status_code == 403
