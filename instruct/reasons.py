"""Why a record is left out of a build, or an image out of a record. The list is fixed: programs may rely on it."""

from enum import StrEnum


class Reason(StrEnum):
    """Reason for quarantine; the value is what is written."""

    MISSING_IMAGE = "missing_image"
    UNDECODABLE_IMAGE = "undecodable_image"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_TOO_SMALL = "image_too_small"
    CONSTANT_IMAGE = "constant_image"
    SEVERAL_FRAMES = "several_frames"
    PATH_OUTSIDE_ROOT = "path_outside_root"
    NO_IMAGE = "no_image"
    IMAGE_COUNT = "image_count"
    REGION_IMAGE = "region_image"
    EMPTY_TARGET = "empty_target"
    CONTROL_CHARACTER = "control_character"
    SPECIAL_TOKEN = "special_token"
    TEMPLATE_ERROR = "template_error"


EXPLANATIONS = {
    Reason.MISSING_IMAGE: "an image of the record is not on disk",
    Reason.UNDECODABLE_IMAGE: "an image of the record cannot be decoded",
    Reason.IMAGE_TOO_LARGE: "an image of the record has more pixels, or its file more bytes, than any radiograph",
    Reason.IMAGE_TOO_SMALL: "an image of the record is too small to show anything",
    Reason.CONSTANT_IMAGE: "all pixels of an image of the record have one value",
    Reason.SEVERAL_FRAMES: "an image file of the record holds several frames or pages",
    Reason.PATH_OUTSIDE_ROOT: (
        "an image path of the record, or a link (which images.links=follow allows), leads out of the source's folder"
    ),
    Reason.NO_IMAGE: "the record has no image, and its task needs one",
    Reason.IMAGE_COUNT: "the record has another number of images than its template places",
    Reason.REGION_IMAGE: "a region of the record is on an image that the record does not have",
    Reason.EMPTY_TARGET: "the answer has no text",
    Reason.CONTROL_CHARACTER: "a text of the record holds a control character",
    Reason.SPECIAL_TOKEN: "a text of the record holds what a model would read as a control token",
    Reason.TEMPLATE_ERROR: "the template fails on the record",
}
